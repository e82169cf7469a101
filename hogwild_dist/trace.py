"""Record a run as it happens. The file is complete JSON after every step."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from hogwild_dist.config import Visibility
from hogwild_dist.engine import RowOutcome, StepOutcome
from hogwild_dist.errors import TraceError
from hogwild_dist.events import Event, Text
from hogwild_dist.session import Session
from hogwild_dist.trace_format import NUM_TOP, header


class TraceWriter:
    """Writes a format-2 trace, a step at a time.

    The end of the file is rewritten in one system call a step, so that what a killed process
    leaves behind can be read.

    Args:
        path: of the file; an existing one is replaced.
        session: recorded from its first step on.
        visibility: of the run.
        about: `model`, `kind` and `texts` for `trace_format.header`.

    Raises:
        TraceError: the file cannot be written.
    """

    def __init__(
        self, path: str | Path, session: Session, visibility: Visibility, about: Mapping[str, Any]
    ) -> None:
        self.path = Path(path)
        self._session = session
        self._num_steps = 0
        fields = json.dumps(header(session.spec, visibility, about), ensure_ascii=False)
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise TraceError(
                f"Trace {str(path)!r} cannot be written: {error.strerror}; choose another file."
            ) from error
        self._end = 0
        self._put(f'{fields[:-1]}, "steps": [', "\n]}\n")

    def step(self, outcome: StepOutcome) -> None:
        """Add a step."""
        rows = [row for row in outcome.rows if row.session is self._session]
        if not rows:
            return
        record = _step_record(self._session, rows, outcome)
        comma = "," if self._num_steps else ""
        self._put(f"{comma}\n{json.dumps(record, ensure_ascii=False)}", "\n]}\n")
        self._num_steps += 1

    def close(self) -> None:
        """Add what is known at the end."""
        if self._file < 0:
            return
        final = json.dumps(_final(self._session), ensure_ascii=False)
        self._put(f"\n],\n{final[1:-1]}}}\n", "")
        os.close(self._file)
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, text: str, closing: str) -> None:
        """Write `text` over the last closing, and a new closing behind it."""
        data = text.encode()
        whole = data + closing.encode()
        try:
            written = os.pwrite(self._file, whole, self._end)
            if written < len(whole):
                raise OSError(28, "No space left on device")
        except OSError as error:
            os.ftruncate(self._file, self._end)
            os.pwrite(self._file, b"\n]}\n" if self._end else b"", self._end)
            raise TraceError(
                f"Trace {str(self.path)!r} cannot be written further: {error.strerror}; its "
                f"{self._num_steps} steps so far are kept."
            ) from error
        self._end += len(data)


def _step_record(
    session: Session, rows: Sequence[RowOutcome], outcome: StepOutcome
) -> dict[str, Any]:
    top_values, top_ids = torch.stack([row.logits for row in rows]).float().topk(NUM_TOP)
    record: dict[str, Any] = {
        "input_ids": [list(row.input_ids) for row in rows],
        "top_ids": top_ids.tolist(),
        "top_logits": [[round(value, 6) for value in row] for row in top_values.tolist()],
        "logsumexp": [round(float(row.logits.float().logsumexp(-1)), 6) for row in rows],
        "margin": [round(margin(row.allowed), 6) for row in rows],
        "greedy": [int(row.allowed.argmax()) for row in rows],
        "new": [row.token_id for row in rows],
        "block_len": outcome.block_lengths[session.id],
        "since_s1": session.since_check,
        "seconds": round(outcome.seconds, 6),
    }
    if len(rows) < len(session.workers):
        record["active"] = [row.worker for row in rows]
    events = [_event(event) for event in outcome.events if not isinstance(event, Text)]
    if events:
        record["events"] = events
    return record


def margin(allowed: Tensor) -> float:
    """The gap between the two largest allowed logits."""
    best, second = allowed.float().topk(2).values.tolist()
    return float(best - second)


def _event(event: Event) -> dict[str, Any]:
    """An event under the names that format 1 uses where it has one."""
    fields = event.to_json()
    if fields["type"] == "paragraph_end":
        fields["step_tokens"] = fields.pop("token_ids")
        fields["s1"] = fields.pop("asked")
    return fields


def _final(session: Session) -> dict[str, Any]:
    return {
        "final": {
            "block_ids": {name: block.token_ids for name, block in session.blocks.items()},
            "pending": [worker.pending for worker in session.workers],
            "text": [worker.text for worker in session.workers],
            "finish": [worker.finish_reason for worker in session.workers],
            "reason": session.end_reason,
        },
        "history": session.history_ids,
        "current": [worker.paragraph_ids for worker in session.workers],
    }
