"""Lines that the user types while a run is drawn."""

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

POLL_SECONDS = 0.1
BACKSPACES = ("\x7f", "\b")


class Keyboard:
    """Reader of lines from a terminal; without echo, so that the drawing stays intact.

    If standard input is not a terminal, nothing is read. Ctrl-C interrupts as usual.
    """

    def __init__(self) -> None:
        self.typed = ""
        """Unfinished line."""
        self._lines: deque[str] = deque()
        self._before: list[Any] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, ValueError, termios.error):
            if sys.stdin.isatty():
                self._before = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
                self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._before is not None:
            self._thread.join()
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def lines(self) -> Iterator[str]:
        """Yield the lines that were finished since the last call."""
        while self._lines:
            yield self._lines.popleft()

    def press(self, text: str) -> None:
        """Apply typed characters to the line."""
        for sign in text:
            if sign in "\r\n":
                line, self.typed = self.typed.strip(), ""
                if line:
                    self._lines.append(line)
            elif sign in BACKSPACES:
                self.typed = self.typed[:-1]
            elif sign.isprintable():
                self.typed += sign

    def _read(self) -> None:
        descriptor = sys.stdin.fileno()
        while not self._stop.is_set():
            if select.select([descriptor], [], [], POLL_SECONDS)[0]:
                data = os.read(descriptor, 1024)
                if not data:
                    return
                self.press(data.decode(errors="ignore"))
