"""The view for a pipe or a file: lines labelled with their worker."""

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console

from hogwild_dist.deploy.view.base import ViewInfo, outcome_without_end
from hogwild_dist.deploy.view.screen import per_second
from hogwild_dist.deploy.view.state import TeamState
from hogwild_dist.deploy.view.text import harmless
from hogwild_dist.session.events import Event, Interjected, ParagraphEnd, Refused, Text, WorkerStop


class PlainView:
    """View that prints each line of a worker's text when it is complete, except blank lines.

    Args:
        console: console to write to.
        about: description of the run.
        clock: returns the time in seconds.
    """

    def __init__(
        self, console: Console, about: ViewInfo, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._about = about
        self._clock = clock
        self._state = TeamState.before(about)
        self._longest = max(cell_len(worker.name) for worker in self._state.workers)
        self._unfinished: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = replace(self._state, left=outcome_without_end(self._about, error))
        for worker in sorted(self._unfinished):
            self._finish_line(worker)
        for label, answer in self._state.team_answers:
            self._print(f"{label}: {answer}")
        self._print(self._summary())

    def handle(self, event: Event) -> None:
        """Print the lines that the event completes."""
        self._state = self._state.after(event, self._clock())
        match event:
            case Text():
                text = self._unfinished.get(event.worker, "") + harmless(event.text)
                *lines, self._unfinished[event.worker] = text.split("\n")
                for line in lines:
                    self._print_line(event.worker, line)
            case Interjected():
                self._print(f"* {' '.join(harmless(event.text).split())}")
            case Refused():
                self._print(f"* {harmless(event.reason)}")
            case ParagraphEnd() | WorkerStop():
                self._finish_line(event.worker)

    def _finish_line(self, worker: int) -> None:
        self._print_line(worker, self._unfinished.pop(worker, ""))

    def _print_line(self, worker: int, line: str) -> None:
        if line.strip():
            name = self._state.workers[worker].name
            self._print(f"{name}{' ' * (self._longest - cell_len(name))} | {line.rstrip()}")

    def _print(self, line: str) -> None:
        self._console.out(line, highlight=False)

    def _summary(self) -> str:
        state = self._state
        seconds = state.seconds()
        workers = ", ".join(
            f"{worker.name} {worker.num_tokens} ({state.stop_reason(worker)})"
            for worker in state.known.values()
        )
        return (
            f"{state.num_tokens} tokens in {seconds:.1f} s, "
            f"{per_second(state.num_tokens, seconds)} tokens/s, "
            f"{state.outcome}: {workers}"
        )
