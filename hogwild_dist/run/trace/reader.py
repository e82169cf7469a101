"""Traces as data: what is in the file, read with checks, and turned into a session's spec.

Format 1 is what the reference implementation's recordings use; format 2 adds `visibility`,
`sampling`, the session's limits, and events that name their target block. docs/traces.md lists
the fields.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hogwild_dist.config import EngineConfig, SamplingConfig, Visibility
from hogwild_dist.errors import ConfigError, TraceError
from hogwild_dist.run.trace.answer_json import answer_rule_from_json, answer_rule_to_json
from hogwild_dist.run.trace.sampling_json import sampling_from_json, sampling_to_json
from hogwild_dist.run.trace.schema import fault
from hogwild_dist.session.changes import AddWorker, change_from_json
from hogwild_dist.session.spec import RedundancyCheck, SessionSpec, WorkerSpec, block_name


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that has been read and checked.

    Attributes:
        path: of the file.
        raw: its content.
        spec: the session that it recorded.
        visibility: of the run.
        steps: one dictionary a step.
    """

    path: Path
    raw: Mapping[str, Any]
    spec: SessionSpec
    visibility: Visibility
    steps: Sequence[Mapping[str, Any]]

    def active(self, step: Mapping[str, Any]) -> list[int]:
        """Indices of the workers that fed tokens in a step."""
        return list(step.get("active", range(len(self.spec.workers))))


def read_trace(path: str | Path) -> Trace:
    """Read a trace of either format.

    Raises:
        TraceError: it is not there, not JSON, or lacks what a trace needs.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceError(f"Trace {str(path)!r} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or absurd
        raise TraceError(
            f"Trace {str(path)!r} is not JSON ({error}); record it again with --trace."
        ) from error
    if not isinstance(raw, dict) or raw.get("format") not in (1, 2):
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise TraceError(f"Trace {str(path)!r} has format {found!r}; formats 1 and 2 can be read.")
    wrong = fault(raw)
    if wrong is not None:
        raise TraceError(f"Trace {str(path)!r} is malformed: {wrong}.")
    try:
        spec = _spec(raw)
        visibility = Visibility(raw.get("visibility", Visibility.SAME_STEP.value))
        joined = 0
        for index, step in enumerate(raw["steps"]):
            joined += _joins(index, step)
            _check_step(index, step, spec, joined)
    except ConfigError as error:
        raise TraceError(f"Trace {str(path)!r} does not fit together: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TraceError(f"Trace {str(path)!r} is malformed: {reason}.") from error
    return Trace(path, raw, spec, visibility, raw["steps"])


def header(spec: SessionSpec, config: EngineConfig, about: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a format-2 trace that are known before the first step.

    Args:
        spec: the session.
        config: of the engine.
        about: further fields: `model`, `kind`, `texts` (block name -> text).
    """
    first = spec.workers[0]
    check = spec.redundancy
    return {
        "format": 2,
        "workers": [worker.name for worker in spec.workers],
        "layout": [list(worker.view) for worker in spec.workers],
        "write_to": [worker.view[-1] for worker in spec.workers],
        "prefill": {
            name: {"ids": list(ids), "text": about["texts"].get(name, "")}
            for name, ids in spec.shared.items()
        },
        "forbidden": list(first.sampling.forbidden_ids),
        "forbid_mode": "suppress" if first.sampling.forbidden_ids else None,
        "visibility": config.visibility.value,
        "max_step_tokens": config.max_step_tokens,
        "sampling": [sampling_to_json(worker.sampling) for worker in spec.workers],
        "model": about["model"],
        "params": {
            "kind": about["kind"],
            "first_inputs": [list(worker.first_input) for worker in spec.workers],
            "worker_prompts": [about["texts"].get(w.view[-1], "") for w in spec.workers],
            "step_prefix": spec.paragraph_prefix,
            "first_index": [worker.first_paragraph for worker in spec.workers],
            "s1_every": check.every if check else None,
            "s1_message": check.question if check else None,
            "s1_counted": check.counted if check else "team",
            "whole_code": spec.whole_code,
            "paragraphs_to": [worker.paragraphs_to for worker in spec.workers],
            "max_tokens": [worker.max_tokens for worker in spec.workers],
            "seen": [worker.seen for worker in spec.workers],
            "newcomers_at": [worker.newcomers_at for worker in spec.workers],
            "stop_at": {
                str(i): w.stop_at_step
                for i, w in enumerate(spec.workers)
                if w.stop_at_step is not None
            },
            "stop_after_step": {
                str(i): w.stop_after_paragraph
                for i, w in enumerate(spec.workers)
                if w.stop_after_paragraph is not None
            },
            "seed": spec.seed,
            "stop_strings": list(spec.stop_strings),
            "end_ids": sorted(spec.end_ids),
            "max_total_tokens": spec.max_total_tokens,
            "until": list(spec.until),
            "finish": None if spec.answer_rule is None else answer_rule_to_json(spec.answer_rule),
        },
    }


def _spec(raw: Mapping[str, Any]) -> SessionSpec:
    """The session that a trace recorded. Format 1 lacks some fields; their defaults are its."""
    params, names = raw["params"], raw["workers"]
    first_inputs = params.get("first_inputs") or _first_inputs(raw)
    first_index = params.get("first_index", 1)
    stop_at, stop_after = params.get("stop_at") or {}, params.get("stop_after_step") or {}
    max_tokens = params.get("max_tokens") or [None] * len(names)
    seen = params.get("seen") or [True] * len(names)
    newcomers_at = params.get("newcomers_at") or [None] * len(names)
    workers = []
    for index, name in enumerate(names):
        view = tuple(raw["layout"][index])
        if view[-1] != raw["write_to"][index]:
            raise ConfigError(
                f"{name!r} writes {raw['write_to'][index]!r}, which is not the end of its view."
            )
        workers.append(
            WorkerSpec(
                name=name,
                view=view,
                first_input=tuple(first_inputs[index]),
                sampling=_sampling(raw, index),
                paragraphs_to=_paragraphs_to(raw, index),
                first_paragraph=first_index[index] if raw["format"] == 2 else first_index,
                max_tokens=max_tokens[index],
                seen=seen[index],
                newcomers_at=newcomers_at[index],
                stop_at_step=stop_at.get(str(index)),
                stop_after_paragraph=stop_after.get(str(index)),
            )
        )
    every = params.get("s1_every")
    return SessionSpec(
        workers=tuple(workers),
        shared={name: tuple(block["ids"]) for name, block in raw["prefill"].items()},
        seed=params.get("seed", 0),
        paragraph_prefix=params.get("step_prefix", ""),
        redundancy=None
        if every is None
        else RedundancyCheck(
            every=every,
            question=params["s1_message"],
            counted=params.get("s1_counted", "team"),
        ),
        whole_code=params.get("whole_code", False),
        stop_strings=tuple(params.get("stop_strings", ())),
        end_ids=frozenset(params.get("end_ids", ())),
        max_total_tokens=params.get("max_total_tokens"),
        until=tuple(params.get("until", ())),
        answer_rule=answer_rule_from_json(params["finish"]) if params.get("finish") else None,
    )


def _first_inputs(raw: Mapping[str, Any]) -> list[list[int]]:
    """Format 1: what each worker fed when it first took part; one that never did gets a dummy."""
    found: dict[int, list[int]] = {}
    for step in raw["steps"]:
        active = step.get("active", range(len(raw["workers"])))
        for worker, ids in zip(active, step["input_ids"], strict=True):
            found.setdefault(worker, ids)
    return [found.get(worker, [0]) for worker in range(len(raw["workers"]))]


def _paragraphs_to(raw: Mapping[str, Any], worker: int) -> str | None:
    params = raw["params"]
    if "paragraphs_to" in params:
        target: str | None = params["paragraphs_to"][worker]
        return target
    moves = params["kind"] in ("combined", "interleaved")
    return str(raw["layout"][worker][0]) if moves else None


def _sampling(raw: Mapping[str, Any], worker: int) -> SamplingConfig:
    if "sampling" in raw:
        return sampling_from_json(raw["sampling"][worker])
    if raw["forbid_mode"] == "minus100":
        return SamplingConfig(logit_bias=dict.fromkeys(raw["forbidden"], -100.0))
    return SamplingConfig(forbidden_ids=tuple(raw["forbidden"]))


def _joins(index: int, step: Mapping[str, Any]) -> int:
    """How many workers join before a step or during it."""
    made = (*step.get("before", []), *step.get("during", []))
    try:
        changes = [change_from_json(fields) for fields in made]
    except ValueError as error:
        raise ValueError(f"step {index} has a change before it that is none") from error
    return sum(isinstance(change, AddWorker) for change in changes)


def _check_step(index: int, step: Mapping[str, Any], spec: SessionSpec, joined: int) -> None:
    active = step.get("active", range(len(spec.workers)))
    known = range(len(spec.workers) + len(spec.finishers) + joined)
    for field in ("input_ids", "top_ids", "top_logits", "new", "margin"):
        if len(step[field]) != len(active):
            raise ValueError(f"step {index} has {len(step[field])} {field} for {len(active)} rows")
    if len(set(active)) < len(active):
        raise ValueError(f"step {index} names a worker twice: {list(active)}")
    if any(worker not in known for worker in active):
        raise ValueError(f"step {index} names a worker that is not in the team: {list(active)}")
    if not all(step["input_ids"]):
        raise ValueError(f"step {index} has a row without tokens")
    own = {worker.view[-1] for worker in spec.workers}
    own |= {block_name(index) for index in known[len(known) - joined :]}
    for event in step.get("events", []):
        source, target = event.get("from_block"), event.get("to_block")
        if source not in {*own, None} or target not in {*spec.shared, None}:
            raise ValueError(f"step {index} moves {source!r} to {target!r}, which cannot be")
        if event.get("worker") not in {*known, None}:
            raise ValueError(f"step {index} has an event of worker {event['worker']}")
