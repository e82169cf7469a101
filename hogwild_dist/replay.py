"""Replay a trace: feed its tokens and compare logits, or let the engine choose tokens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hogwild_dist.batch import Row
from hogwild_dist.cache import Block, KVCache
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine import Engine, StepOutcome
from hogwild_dist.errors import TraceError
from hogwild_dist.events import ParagraphEnd
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.model import LoadedModel
from hogwild_dist.runner import ModelRunner
from hogwild_dist.sampling import Sampler
from hogwild_dist.trace_format import Trace
from hogwild_dist.trace_schema import MOVES


@dataclass(frozen=True, slots=True)
class RowComparison:
    """One row of a fed step against the trace.

    Attributes:
        step: number of the step.
        worker: index of the worker.
        logits: of the row's recorded top ids, in their order.
        difference: largest absolute difference to the recorded ones.
        argmax: id of the largest allowed logit.
        expected: what the trace has there.
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
        """Whether the logits are within `tolerance` and the greedy token is the recorded one.

        Where the two best recorded logits are closer than twice the tolerance, either may win.
        """
        close_call = self.margin < 2 * tolerance
        return self.difference <= tolerance and (self.argmax == self.expected or close_call)


def check_fits(trace: Trace, model: LoadedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a trace that was made with another model's tokens.

    Raises:
        TraceError: an id is outside the vocabulary, or ids and recorded text do not match.
    """
    vocab_size = model.network.config.get_text_config().vocab_size
    largest = max(_all_ids(trace), default=0)
    if largest >= vocab_size:
        raise TraceError(
            f"Trace {str(trace.path)!r} has the token id {largest} and {model.name!r} knows "
            f"{vocab_size} tokens; replay it with the model that it was made with."
        )
    for name, block in trace.raw["prefill"].items():
        text = block.get("text")
        if text and tokenizer.decode(block["ids"]) != text:
            raise TraceError(
                f"The tokens of block {name!r} in {str(trace.path)!r} do not spell its text with "
                f"the tokenizer of {model.name!r}; replay it with the model that it was made with."
            )


def _all_ids(trace: Trace) -> Iterator[int]:
    """Every token id that a trace feeds, bans or looks up."""
    yield from (token for ids in trace.spec.shared.values() for token in ids)
    for worker in trace.spec.workers:
        yield from (*worker.first_input, *worker.sampling.forbidden_ids)
        yield from worker.sampling.logit_bias
    for step in trace.steps:
        yield from (token for ids in (*step["input_ids"], *step["top_ids"]) for token in ids)


def replay_fed(trace: Trace, model: LoadedModel, config: EngineConfig) -> Iterator[RowComparison]:
    """Feed the recorded tokens and apply the recorded events.

    Args:
        trace: what to replay.
        model: the model that it was made with.
        config: sizes; the visibility is the trace's.

    Raises:
        TraceError: block lengths or moves come out otherwise than recorded.
        ContextLimitError: the trace is longer than the cache.
    """
    cache = model.new_cache(config.cache_tokens)
    runner = ModelRunner(model, cache, LocalExchange(trace.visibility))
    names = {name: None for worker in trace.spec.workers for name in worker.view}
    blocks = {name: cache.new_block(name) for name in {**dict(trace.spec.shared), **names}}
    for name, ids in trace.spec.shared.items():
        runner.encode_alone(blocks[name], ids, config.prefill_chunk)
    samplers = [Sampler(worker.sampling, model.device) for worker in trace.spec.workers]
    for index, step in enumerate(trace.steps):
        active = trace.active(step)
        views = [tuple(blocks[name] for name in trace.spec.workers[w].view) for w in active]
        inputs = [tuple(ids) for ids in step["input_ids"]]
        rows = [Row(view, ids) for view, ids in zip(views, inputs, strict=True)]
        logits, batch = runner.forward(rows)
        for row, worker in enumerate(active):
            allowed = samplers[worker].allowed(logits[row], partial(batch.seen_ids, row))
            values = logits[row, torch.tensor(step["top_ids"][row])].float()
            yield RowComparison(
                step=index,
                worker=worker,
                logits=tuple(values.tolist()),
                difference=_largest_difference(values, step["top_logits"][row]),
                argmax=int(allowed.argmax()),
                expected=step.get("greedy", step["new"])[row],
                margin=step["margin"][row],
            )
        _check_lengths(trace, index, step, blocks)
        for event in step.get("events", []):
            if event["type"] in MOVES:
                _move(trace, index, event, cache, blocks)


def replay_free(
    trace: Trace, model: LoadedModel, tokenizer: PreTrainedTokenizerBase, config: EngineConfig
) -> Iterator[list[str]]:
    """Let the engine choose; yields, for each step, what came out otherwise than recorded.

    Raises:
        ContextLimitError: the trace is longer than the cache.
    """
    engine = Engine(model, tokenizer, replace(config, visibility=trace.visibility))
    session = engine.start(trace.spec)
    session.opening()
    for step in trace.steps:
        outcome = engine.step([session])
        yield _differences(trace, step, outcome, session.since_check)


def _largest_difference(values: Tensor, recorded: list[float]) -> float:
    return float((values - torch.tensor(recorded, device=values.device)).abs().max())


def _check_lengths(trace: Trace, index: int, step: Any, blocks: dict[str, Block]) -> None:
    lengths = {name: block.length for name, block in blocks.items()}
    recorded = step.get("block_len", {})
    wrong = [name for name in recorded if recorded[name] != lengths.get(name)]
    if wrong:
        raise TraceError(
            f"After step {index} of {str(trace.path)!r} block {wrong[0]!r} has "
            f"{lengths.get(wrong[0])} tokens and the trace says {recorded[wrong[0]]}."
        )


def _move(trace: Trace, index: int, event: Any, cache: KVCache, blocks: dict[str, Block]) -> None:
    """Apply a recorded move. Format 1 moves to the first block of the worker's view."""
    target = event.get("to_block") or trace.spec.workers[event["worker"]].view[0]
    moved = cache.append_from(blocks[target], blocks[event["from_block"]])
    if moved != event["moved"]:
        raise TraceError(
            f"Step {index} of {str(trace.path)!r} moves {event['moved']} tokens from "
            f"{event['from_block']!r}, which has {moved}."
        )


def _differences(trace: Trace, step: Any, outcome: StepOutcome, since_check: int) -> list[str]:
    """Sentences about what differs between a free step and the recorded one."""
    active = trace.active(step)
    pairs: list[tuple[str, Any, Any]] = [
        ("active workers", [row.worker for row in outcome.rows], active),
        ("input", [list(row.input_ids) for row in outcome.rows], step["input_ids"]),
        ("tokens", [row.token_id for row in outcome.rows], step["new"]),
        ("paragraph ends", _ends(outcome), _recorded_ends(step)),
    ]
    if "since_s1" in step:
        pairs.append(("redundancy counter", since_check, step["since_s1"]))
    for lengths in outcome.block_lengths.values():
        pairs.append(("block lengths", lengths, step.get("block_len", lengths)))
    return [f"{what}: {ours}, recorded {theirs}" for what, ours, theirs in pairs if ours != theirs]


def _ends(outcome: StepOutcome) -> list[tuple[Any, ...]]:
    ends = [event for event in outcome.events if isinstance(event, ParagraphEnd)]
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
