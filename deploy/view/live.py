"""The view for a terminal: a screen that is redrawn while the team writes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hogwild_dist.deploy.view.base import ViewInfo, outcome_without_end
from hogwild_dist.deploy.view.keyboard import Keyboard
from hogwild_dist.deploy.view.screen import OUTSIDE, Screen, colour, per_second
from hogwild_dist.deploy.view.state import TeamState
from hogwild_dist.deploy.view.text import joined
from hogwild_dist.session.events import Event

REDRAWS_PER_SECOND = 12


class LiveView:
    """View that draws the workers side by side, and prints the whole text and a summary at the end.

    Args:
        console: console of a terminal.
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
        self._keyboard = Keyboard()
        self._live = Live(
            console=console, get_renderable=self._screen, refresh_per_second=REDRAWS_PER_SECOND
        )

    def __enter__(self) -> Self:
        if self._about.hint:
            self._keyboard.__enter__()
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        if self._about.hint:
            self._keyboard.__exit__(kind, error, traceback)
        self._state = replace(self._state, left=outcome_without_end(self._about, error))
        self._console.line()
        print_whole_text(self._console, self._state)
        for refusal in self._state.refusals:
            self._console.print(Text(f"refused: {refusal}", "dim"), overflow="fold")
        for label, answer in self._state.team_answers:
            _print_labelled(self._console, label, Text(answer))
        self._console.print("", summary(self._state), sep="\n")

    def handle(self, event: Event) -> None:
        """Apply one event; the next redraw shows it."""
        self._state = self._state.after(event, self._clock())

    def lines(self) -> Iterator[str]:
        """Yield the lines that the user has typed since the last call."""
        return self._keyboard.lines()

    def _screen(self) -> Screen:
        seconds = self._state.seconds(self._clock())
        return Screen(self._about, self._state, seconds, self._keyboard.typed)


def print_whole_text(console: Console, state: TeamState) -> None:
    """Print the history, then each worker's unfinished paragraph."""
    for paragraph in state.history:
        if paragraph.worker is None:
            _print_labelled(console, "from outside", joined(paragraph.pieces, OUTSIDE))
            continue
        label = f"{state.workers[paragraph.worker].name} [{paragraph.index}]"
        _print_labelled(console, label, joined(paragraph.pieces, colour(paragraph.worker)))
    for index, worker in state.known.items():
        _print_labelled(console, worker.name, joined(worker.pieces, colour(index)))


def _print_labelled(console: Console, label: str, text: Text) -> None:
    if text:
        console.print(Rule(Text(label, "bold"), align="left", style="dim"))
        console.print(text, overflow="fold")


def summary(state: TeamState) -> Table:
    """Return a table of tokens, times and stop reasons, per worker and in total."""
    table = Table(box=None, show_footer=True, collapse_padding=True, pad_edge=False)
    seconds = state.seconds()
    table.add_column("worker", "all", overflow="fold")
    for header, footer in (
        ("tokens", str(state.num_tokens)),
        ("seconds", f"{seconds:.1f}"),
        ("tokens/s", per_second(state.num_tokens, seconds)),
    ):
        table.add_column(header, footer, justify="right", no_wrap=True)
    table.add_column("stopped by", Text(state.outcome), overflow="fold")
    for index, worker in state.known.items():
        taken = worker.stopped_at - (state.began or 0.0) if worker.stopped else seconds
        table.add_row(
            Text(worker.name, colour(index)),
            str(worker.num_tokens),
            f"{taken:.1f}",
            per_second(worker.num_tokens, taken),
            Text(state.stop_reason(worker)),
        )
    return table
