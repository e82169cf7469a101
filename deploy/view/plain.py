"""The view for a pipe or a file: labelled lines, each of one worker."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console

from deploy.view.base import ViewInfo
from deploy.view.screen import per_second
from deploy.view.state import TeamState
from deploy.view.text import harmless
from hogwild_dist.events import Event, ParagraphEnd, Text, WorkerStop


class PlainView:
    """Prints each line of a worker's text when it is complete; blank ones are left out.

    Args:
        console: where to.
        about: the run.
        clock: seconds.
    """

    def __init__(
        self, console: Console, about: ViewInfo, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._clock = clock
        self._state = TeamState.before(about)
        names = [worker.name for worker in self._state.workers]
        longest = max(map(cell_len, names))
        self._labels = [name + " " * (longest - cell_len(name)) for name in names]
        self._unfinished = [""] * len(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in range(len(self._labels)):
            self._finish_line(worker)
        self._print(self._summary())

    def handle(self, event: Event) -> None:
        """Print what the event completes."""
        self._state = self._state.after(event, self._clock())
        match event:
            case Text():
                text = self._unfinished[event.worker] + harmless(event.text)
                *lines, self._unfinished[event.worker] = text.split("\n")
                for line in lines:
                    self._print_line(event.worker, line)
            case ParagraphEnd() | WorkerStop():
                self._finish_line(event.worker)

    def _finish_line(self, worker: int) -> None:
        line, self._unfinished[worker] = self._unfinished[worker], ""
        self._print_line(worker, line)

    def _print_line(self, worker: int, line: str) -> None:
        if line.strip():
            self._print(f"{self._labels[worker]} | {line.rstrip()}")

    def _print(self, line: str) -> None:
        self._console.out(line, highlight=False)

    def _summary(self) -> str:
        state = self._state
        seconds = state.seconds()
        workers = ", ".join(
            f"{worker.name} {worker.num_tokens} ({worker.stopped or 'cancelled'})"
            for worker in state.workers
        )
        return (
            f"{state.num_tokens} tokens in {seconds:.1f} s, "
            f"{per_second(state.num_tokens, seconds)} tokens/s, "
            f"{state.ended or 'cancelled'}: {workers}"
        )
