"""`TraceWriter`: a trace file that is complete JSON after every step."""

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hogwild_dist.errors import TraceError


class TraceWriter:
    """A format-2 trace that is written step by step.

    Each step rewrites the end of the file in one system call, so that the file can be read even
    if the process is killed.

    Args:
        path: path of the file; an existing one is replaced.
        header: fields from `spec_json.header`.

    Raises:
        TraceError: the file cannot be written.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._num_steps = 0
        fields = _json(header)
        self._file = _open(self.path)
        self._end = 0
        try:
            self._append(f'{fields[:-1]}, "steps": [', "\n]}\n")
        except BaseException:
            self.close()
            raise

    def step(self, record: Mapping[str, Any]) -> None:
        """Add a step: a record from `trace_record.step_record`."""
        comma = "," if self._num_steps else ""
        self._append(f"{comma}\n{_json(record)}", "\n]}\n")
        self._num_steps += 1

    def end(self, final: Mapping[str, Any]) -> None:
        """Add the fields of the end: a record from `trace_record.final_record`."""
        self._append(f"\n],\n{_json(final)[1:-1]}}}\n", "")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, text: str, closing: str) -> None:
        """Replace the closing brackets by `text` and new closing brackets.

        The file is complete before and after; a failed write is rolled back.
        """
        data = text.encode()
        whole = data + closing.encode()
        try:
            _write(self._file, whole, self._end)
            os.ftruncate(self._file, self._end + len(whole))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.pwrite(self._file, b"\n]}\n" if self._end else b"", self._end)
            raise TraceError(
                f"Trace {str(self.path)!r} cannot be written further: {error.strerror}; its "
                f"{self._num_steps} steps so far are kept."
            ) from error
        self._end += len(data)


def _open(path: Path) -> int:
    """Open an empty file and return its descriptor."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        raise TraceError(
            f"Trace {str(path)!r} cannot be written: {error.strerror}; choose another file."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TraceError(
            f"Trace {str(path)!r} is not a regular file, and a recording rewrites its end after "
            "every step; choose another file."
        )
    return descriptor


def _write(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data`, repeating partial writes until they are complete or fail."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)
