"""Replays of a trace: its tokens are fed and logits compared, or the engine chooses tokens."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.step import RowOutcome, SessionStep, StepOutcome
from hogwild_dist.errors import TraceError
from hogwild_dist.model.loaded_model import ModelInfo
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.schema import MOVES
from hogwild_dist.session.changes import AddWorker, Interjection, change_from_json
from hogwild_dist.session.events import ParagraphEnd
from hogwild_dist.session.session import Session


@dataclass(frozen=True, slots=True)
class RowComparison:
    """One worker's logits in one step, compared with the trace.

    Attributes:
        step: number of the step.
        worker: index of the worker.
        logits: logits of the recorded top ids, in their order.
        difference: largest absolute difference from the recorded logits.
        argmax: token id of the largest allowed logit.
        expected: token id of the largest allowed logit in the trace.
        margin: recorded gap between the two largest allowed logits.
    """

    step: int
    worker: int
    logits: tuple[float, ...]
    difference: float
    argmax: int
    expected: int
    margin: float

    def agrees(self, tolerance: float) -> bool:
        """Return whether the logits are within `tolerance` and the greedy tokens are equal.

        If the two largest recorded logits are closer than twice the tolerance, either may be the
        greedy token.
        """
        close_call = self.margin < 2 * tolerance
        return self.difference <= tolerance and (self.argmax == self.expected or close_call)


class _EndsEarlyError(TraceError):
    """A replayed session ends before its recording does."""


def check_fits(trace: Trace, model: ModelInfo, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a trace that was recorded with another tokenizer.

    Raises:
        TraceError: an id is outside the vocabulary, or ids do not spell the recorded text.
    """
    vocab_size = model.vocab_size
    unknown = [token for token in _all_ids(trace) if not 0 <= token < vocab_size]
    if unknown:
        raise TraceError(
            f"Trace {str(trace.path)!r} has token id {unknown[0]}, but {model.name!r} has "
            f"{vocab_size} tokens; replay the trace with the model that recorded it."
        )
    for name, block in trace.raw["prefill"].items():
        if block.get("text") and not _spell(tokenizer, list(block["ids"]), block["text"]):
            raise TraceError(
                f"The tokens of block {name!r} in {str(trace.path)!r} do not spell its text with "
                f"the tokenizer of {model.name!r}; replay the trace with the model that recorded "
                "it."
            )


def _spell(tokenizer: PreTrainedTokenizerBase, ids: list[int], text: str) -> bool:
    """Return whether tokens spell a text, or the text encodes to them.

    A begin-of-text token may come first. Some tokenizers normalize text, so that it is not spelled
    by its own tokens.
    """
    body = ids[1:] if ids[:1] == [tokenizer.bos_token_id] else ids
    encoder = TextEncoder(tokenizer)
    encoded = (
        tokenizer.encode(text, add_special_tokens=False),
        encoder.go_on(PromptText.markup(text)),
        encoder.go_on(PromptText.typed(text)),
    )
    return any(tokenizer.decode(one) == text or one in encoded for one in (ids, body))


def _all_ids(trace: Trace) -> Iterator[int]:
    """Yield every token id that a trace feeds, bans or compares."""
    yield from (token for ids in trace.spec.shared.values() for token in ids)
    for worker in (*trace.spec.workers, *trace.spec.finishers):
        yield from (*worker.first_input, *worker.sampling.forbidden_ids)
        yield from worker.sampling.logit_bias
    for step in trace.steps:
        yield from (token for ids in (*step["input_ids"], *step["top_ids"]) for token in ids)
        yield from (token for token in step["new"] if token is not None)
        for fields in (*step.get("before", []), *step.get("during", [])):
            change = change_from_json(fields)
            if isinstance(change, Interjection):
                yield from change.token_ids
            elif isinstance(change, AddWorker):
                yield from change.announcement.token_ids if change.announcement else ()
                yield from change.worker.first_input
                yield from (
                    *change.worker.sampling.forbidden_ids,
                    *change.worker.sampling.logit_bias,
                )


def recorded_settings(trace: Trace) -> dict[str, Any]:
    """Return the engine's settings that a trace names, as arguments of `EngineConfig`."""
    found = {"visibility": trace.visibility, "max_step_tokens": trace.raw.get("max_step_tokens")}
    return {name: value for name, value in found.items() if value is not None}


def recorded_dtype(trace: Trace) -> str | None:
    """Return the dtype of the model that a trace was recorded with; None if it does not tell."""
    model = trace.raw.get("model")
    dtype = model.get("dtype") if isinstance(model, dict) else None
    return dtype if isinstance(dtype, str) else None


def replay_fed(trace: Trace, engine: Engine) -> Iterator[RowComparison]:
    """Feed the recorded tokens and yield the comparisons of logits.

    On a shard, only its own workers are compared.

    Args:
        trace: trace to replay.
        engine: engine with the recording model and the trace's visibility.

    Raises:
        TraceError: inputs, block lengths, moves or the end differ from the recording.
        ContextLimitError: the trace does not fit in the cache.
    """
    for _, outcome in _steps(trace, engine, _fed_choices(trace)):
        for played in _recorded_steps(outcome):
            step = trace.steps[played.index]
            _check_step(trace, played, step)
            active = trace.active(step)
            for row in outcome.rows:
                yield _compare(played.index, row, step, active.index(row.worker))


def replay_free(
    trace: Trace,
    engine: Engine,
    observe: Callable[[RowComparison], None] = lambda _: None,
) -> Iterator[list[str]]:
    """Let the engine choose; yield the differences of each step from the recorded one.

    Args:
        trace: the trace to replay.
        engine: an engine of the trace's model and visibility.
        observe: called with the logits of each row of a step that agrees with the recorded one.

    Raises:
        ContextLimitError: the trace does not fit in the cache.
    """
    try:
        for session, outcome in _steps(trace, engine, {}):
            for played in _recorded_steps(outcome):
                step = trace.steps[played.index]
                found = _differences(trace, step, played, session.history.since_check)
                active = trace.active(step)
                for row in outcome.rows if not found else ():
                    observe(_compare(played.index, row, step, active.index(row.worker)))
                yield found
    except _EndsEarlyError as error:
        yield [str(error)]


def _fed_choices(trace: Trace) -> dict[int, list[int]]:
    """Return each worker's choices: the first token of its next input, or its last `new`."""
    chosen: dict[int, list[int]] = {}
    unfed: dict[int, int] = {}
    finishers = range(len(trace.spec.workers), len(trace.spec.workers) + len(trace.spec.finishers))
    for step in trace.steps:
        rows = zip(trace.active(step), step["input_ids"], step["new"], strict=True)
        for worker, fed, new in rows:
            if worker in finishers:  # each time, they start with their first text again
                chosen.setdefault(worker, []).extend([] if new is None else [new])
                continue
            if worker in unfed:
                chosen.setdefault(worker, []).append(fed[0])
                del unfed[worker]
            if new is not None:
                unfed[worker] = new
    for worker, new in unfed.items():
        chosen.setdefault(worker, []).append(new)
    return chosen


def _steps(
    trace: Trace, engine: Engine, forced: Mapping[int, Sequence[int]]
) -> Iterator[tuple[Session, StepOutcome]]:
    """Run as many steps as were recorded.

    Raises:
        _EndsEarlyError: the session ends earlier.
        SessionError: the session fails.
    """
    session = engine.start(trace.spec, forced=forced)
    session.opening()
    changed_at = None
    try:
        while not session.end_reason and session.step < len(trace.steps):
            position = (session.step, engine.phase(session))
            if position != changed_at:  # a call of `step` may complete no step
                for fields in trace.steps[session.step].get(engine.phase(session), []):
                    engine.apply_change(session, change_from_json(fields))
            changed_at = position
            yield session, engine.step([session])
        engine.drain()
        if session.failure is not None:
            raise session.failure
        if session.step < len(trace.steps):
            raise _EndsEarlyError(
                f"The team of {str(trace.path)!r} ends after step {session.step} "
                f"({session.end_reason}), but {len(trace.steps)} steps are recorded."
            )
    finally:
        session.free()


def _recorded_steps(outcome: StepOutcome) -> list[SessionStep]:
    """Return the steps that have an entry in a trace: those with a forward pass."""
    return [played for played in outcome.sessions if played.feeds]


def _check_step(trace: Trace, played: SessionStep, step: Mapping[str, Any]) -> None:
    """Refuse a recording whose inputs, lengths or moves differ from the replayed ones."""
    where = f"Step {played.index} of {str(trace.path)!r}"
    fed = {feed.worker.index: list(feed.row.token_ids) for feed in played.feeds}
    recorded = dict(zip(trace.active(step), map(list, step["input_ids"]), strict=True))
    if fed != recorded:
        raise TraceError(f"{where} replays with the inputs {fed}, but has {recorded}.")
    lengths = step.get("block_len", {})
    wrong = [name for name in lengths if lengths[name] != played.block_lengths.get(name)]
    if wrong:
        raise TraceError(
            f"After the forward of step {played.index} of {str(trace.path)!r} block {wrong[0]!r} "
            f"has {played.block_lengths.get(wrong[0])} tokens, but the trace has "
            f"{lengths[wrong[0]]}."
        )
    if _ends(played) != _recorded_ends(step):
        raise TraceError(
            f"{where} replays with the moves {_ends(played)}, but has {_recorded_ends(step)}."
        )


def _compare(index: int, row: RowOutcome, step: Mapping[str, Any], entry: int) -> RowComparison:
    """Compare a row with entry `entry` of a recorded step."""
    values = row.logits[torch.tensor(step["top_ids"][entry])].float()
    return RowComparison(
        step=index,
        worker=row.worker,
        logits=tuple(values.tolist()),
        difference=_largest_difference(values, step["top_logits"][entry]),
        argmax=int(row.allowed.argmax()),
        expected=(step.get("greedy") or step["new"])[entry],
        margin=step["margin"][entry],
    )


def _largest_difference(values: Tensor, recorded: list[float]) -> float:
    return float((values - torch.tensor(recorded, device=values.device)).abs().max())


def _differences(
    trace: Trace, step: Mapping[str, Any], played: SessionStep, since_check: int
) -> list[str]:
    """Describe how a free step differs from the recorded one, a text for each difference."""
    pairs: list[tuple[str, Any, Any]] = [
        ("active workers", [feed.worker.index for feed in played.feeds], trace.active(step)),
        ("input", [list(feed.row.token_ids) for feed in played.feeds], step["input_ids"]),
        ("tokens", [report.token_id for report in played.reports], step["new"]),
        ("paragraph ends", _ends(played), _recorded_ends(step)),
        ("block lengths", played.block_lengths, step.get("block_len", played.block_lengths)),
    ]
    if "since_s1" in step:
        pairs.append(("redundancy counter", since_check, step["since_s1"]))
    return [f"{what}: {ours}, recorded {theirs}" for what, ours, theirs in pairs if ours != theirs]


def _ends(played: SessionStep) -> list[tuple[Any, ...]]:
    ends = [event for event in played.events if isinstance(event, ParagraphEnd)]
    return [
        (
            end.worker,
            end.from_block,
            end.moved,
            list(end.token_ids),
            end.text,
            None if end.next_input is None else list(end.next_input),
            end.asked,
        )
        for end in ends
    ]


def _recorded_ends(step: Any) -> list[tuple[Any, ...]]:
    return [
        (
            event["worker"],
            event["from_block"],
            event["moved"],
            event["step_tokens"],
            event["text"],
            event.get("next_input"),
            event.get("s1", False),
        )
        for event in step.get("events", [])
        if event["type"] in MOVES
    ]
