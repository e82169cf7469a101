"""Record a run as it happens. The file is complete JSON after every step."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hogwild_dist.errors import TraceError


class TraceWriter:
    """Writes a format-2 trace, a step at a time.

    The end of the file is rewritten in one system call a step, so that what a killed process
    leaves behind can be read.

    Args:
        path: of the file; an existing one is replaced.
        header: from `trace_format.header`.

    Raises:
        TraceError: the file cannot be written.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._num_steps = 0
        fields = json.dumps(header, ensure_ascii=False)
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise TraceError(
                f"Trace {str(path)!r} cannot be written: {error.strerror}; choose another file."
            ) from error
        self._end = 0
        self._put(f'{fields[:-1]}, "steps": [', "\n]}\n")

    def step(self, record: Mapping[str, Any]) -> None:
        """Add a step, from `trace_record.step_record`."""
        comma = "," if self._num_steps else ""
        self._put(f"{comma}\n{json.dumps(record, ensure_ascii=False)}", "\n]}\n")
        self._num_steps += 1

    def end(self, final: Mapping[str, Any]) -> None:
        """Add what is known at the end, from `trace_record.final_record`."""
        self._put(f"\n],\n{json.dumps(final, ensure_ascii=False)[1:-1]}}}\n", "")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
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
