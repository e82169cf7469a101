"""`read_trace`: a trace file, checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError, TraceError
from hogwild_dist.run.trace.schema import fault
from hogwild_dist.run.trace.spec_json import spec_from_json
from hogwild_dist.session.changes import AddWorker, change_from_json
from hogwild_dist.session.spec import SessionSpec, block_name


@dataclass(frozen=True, slots=True)
class Trace:
    """A checked trace.

    Attributes:
        path: path of the file.
        raw: content of the file.
        spec: spec of the recorded session.
        visibility: visibility of the recorded run.
        steps: one dictionary for each step.
    """

    path: Path
    raw: Mapping[str, Any]
    spec: SessionSpec
    visibility: Visibility
    steps: Sequence[Mapping[str, Any]]

    def worker_names(self) -> list[str]:
        """Return the names of all workers by index: the team's, finishers, those who joined."""
        names = [worker.name for worker in (*self.spec.workers, *self.spec.finishers)]
        return names + [change.worker.name for step in self.steps for change in _joins(step)]

    def active(self, step: Mapping[str, Any]) -> list[int]:
        """Return the indices of the workers that fed tokens in a step."""
        return list(step.get("active", range(len(self.spec.workers))))


def read_trace(path: str | Path) -> Trace:
    """Read a trace of either format.

    Raises:
        TraceError: the file is missing, is not JSON, or is malformed.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceError(f"Trace {str(path)!r} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        raise TraceError(
            f"Trace {str(path)!r} is not JSON ({error}); record it again with --trace."
        ) from error
    if not isinstance(raw, dict) or raw.get("format") not in (1, 2):
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise TraceError(f"Trace {str(path)!r} has format {found!r}; formats 1 and 2 can be read.")
    error_text = fault(raw)
    if error_text is not None:
        raise TraceError(f"Trace {str(path)!r} is malformed: {error_text}.")
    try:
        spec = spec_from_json(raw)
        visibility = Visibility(raw.get("visibility", Visibility.SAME_STEP.value))
        joined = 0
        for index, step in enumerate(raw["steps"]):
            joined += _num_joins(index, step)
            _check_step(index, step, spec, joined)
    except ConfigError as error:
        raise TraceError(f"Trace {str(path)!r} does not fit together: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TraceError(f"Trace {str(path)!r} is malformed: {reason}.") from error
    return Trace(path, raw, spec, visibility, raw["steps"])


def _num_joins(index: int, step: Mapping[str, Any]) -> int:
    """Return how many workers join before or during a step."""
    try:
        return len(_joins(step))
    except ValueError as error:
        raise ValueError(f"step {index} has a malformed change") from error


def _joins(step: Mapping[str, Any]) -> list[AddWorker]:
    """Return the workers' joins before and during a step, in order."""
    changes_json = (*step.get("before", []), *step.get("during", []))
    changes = [change_from_json(fields) for fields in changes_json]
    return [change for change in changes if isinstance(change, AddWorker)]


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
    own_blocks = {worker.view[-1] for worker in spec.workers}
    own_blocks |= {block_name(index) for index in known[len(known) - joined :]}
    for event in step.get("events", []):
        source, target = event.get("from_block"), event.get("to_block")
        if source not in {*own_blocks, None} or target not in {*spec.shared, None}:
            raise ValueError(
                f"step {index} moves {source!r} to {target!r}, not a worker's block to a shared one"
            )
        if event.get("worker") not in {*known, None}:
            raise ValueError(f"step {index} has an event of worker {event['worker']}")
