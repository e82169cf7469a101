"""One screen of the live view: problem, history, a panel per worker, note, status line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from math import ceil

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hogwild_dist.deploy.view.base import ViewInfo
from hogwild_dist.deploy.view.state import TeamState, WorkerState
from hogwild_dist.deploy.view.text import first_lines, harmless, joined, last_cells, last_lines

COLOURS = (
    "#0c90d2", "#e450a2", "#079f2b", "#c4760c", "#a46bf5", "#089893", "#f24e4d", "#8d8d04",
    "#4483ff", "#ef4b6f", "#039b74", "#aa8310", "#c65dd7", "#1096aa", "#df640c", "#5c9802",
)  # fmt: skip
"""Colours of the workers: equally bright, readable on black and on white."""

MIN_WIDTH = 8
"""Narrowest screen that is laid out."""

MIN_COLUMN = 30
"""Narrowest column of the workers' grid, if the screen allows it."""

BORDER = 2
"""Lines that a panel's border takes."""

SIDES = 4
"""Characters that a panel's border and padding take."""

QUIET_LINES = 6
"""Lines that a worker's panel keeps for its text if the screen allows it."""

ROOMY = 20
"""Height from which problem and status get more than one line each."""

OUTSIDE = "bold"
"""Style of messages from outside the team."""


def colour(worker: int) -> str:
    """Return the colour of a worker."""
    return COLOURS[worker % len(COLOURS)]


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen no larger than the console; of texts that do not fit, the end is shown.

    Attributes:
        about: description of the run.
        state: state to draw.
        seconds: time since the first event.
        typed: line that the user is typing.
    """

    about: ViewInfo
    state: TeamState
    seconds: float
    typed: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = max(MIN_WIDTH, options.max_width), options.size.height
        roomy = height >= ROOMY
        problem = Text(" ".join(harmless(self.about.problem).split()), "bold")
        top = first_lines(console, problem, width, 3 if roomy else 1)
        bottom = first_lines(console, self._status(), width, 2 if roomy else 1)
        note = first_lines(console, self._note(), width, 1)
        free = height - sum(len(lines.split()) for lines in (top, note, bottom) if lines)
        history = self._history(console, width - SIDES, free)
        grid, used = self._grid(console, width, free, len(history) + BORDER if history else 0)
        yield top
        if history and free - used > BORDER:
            shown = Text("\n").join(history[-(free - used - BORDER) :])
            yield _panel(shown, width, "finished paragraphs", "dim")
        yield grid
        if note:
            yield note
        yield bottom

    def _note(self) -> Text:
        """Return the newest refusal."""
        refusals = self.state.refusals
        return Text(f"refused: {' '.join(refusals[-1].split())}", "bold") if refusals else Text()

    def _status(self) -> Text:
        if self.typed:
            return Text(f"> {harmless(self.typed)}", "bold")
        state, about = self.state, self.about
        parts = [
            f"step {state.step}",
            f"{state.num_tokens} tokens",
            f"{per_second(state.num_tokens, self.seconds)} tokens/s",
            str(timedelta(seconds=int(self.seconds))),
            harmless(about.layout),
            harmless(about.visibility),
            harmless(about.model),
            *([about.hint] if about.hint else []),
        ]
        if state.ended:
            parts.insert(0, state.ended)
        return Text(" · ".join(parts), "dim")

    def _history(self, console: Console, width: int, count: int) -> list[Text]:
        """Return the last `count` lines of the finished paragraphs."""
        lines: list[Text] = []
        for paragraph in reversed(self.state.history):
            if len(lines) >= count:
                break
            of = OUTSIDE if paragraph.worker is None else colour(paragraph.worker)
            text = joined(paragraph.pieces, of)
            lines = last_lines(console, text, width, count) + lines
        return lines[-count:]

    def _grid(
        self, console: Console, width: int, free: int, wanted_above: int
    ) -> tuple[RenderableType, int]:
        """Return the grid of the workers and its number of lines.

        Args:
            console: console to draw on.
            width: width of the screen.
            free: lines for history and workers.
            wanted_above: lines that the history would fill.
        """
        shown = list(self.state.known)
        widths = column_widths(len(shown), width, len(shown))
        rows = ceil(len(shown) / len(widths))
        if rows * (BORDER + 1) > free * 3 // 4:
            widths = column_widths(len(shown), width, free)
            rows = ceil(len(shown) / len(widths))
            placed = zip(shown, cycle(widths), strict=False)
            return _table([self._line(one, column) for one, column in placed], widths), rows
        most = max(1, max(free // 2, free - wanted_above) // rows - BORDER)
        texts = [
            last_lines(console, self._text(one), column - SIDES, most)
            for one, column in zip(shown, cycle(widths), strict=False)
        ]
        count = min(most, max(QUIET_LINES, *map(len, texts)))
        panels = [
            self._worker_panel(one, lines[-count:], column, count)
            for one, lines, column in zip(shown, texts, cycle(widths), strict=False)
        ]
        return _table(panels, widths), rows * (count + BORDER)

    def _text(self, worker: int) -> Text:
        return joined(self.state.workers[worker].pieces, colour(worker))

    def _worker_panel(
        self, index: int, lines: Sequence[Text], width: int, count: int
    ) -> RenderableType:
        worker = self.state.workers[index]
        title = f"{worker.name} · {worker.num_tokens}"
        body = Text("\n").join(lines)
        style, height = colour(index), count + BORDER
        return _panel(body, width, title, style, subtitle=worker.stopped, height=height)

    def _line(self, index: int, width: int) -> RenderableType:
        """Return a worker as one line, for small screens: its name and the end of its text."""
        worker = self.state.workers[index]
        label = Text(f"{_padded_name(worker, self.state.workers)} │ ", colour(index))
        if worker.stopped:
            shown = Text(worker.stopped, "italic")
        else:
            shown = last_cells(self._text(index), max(1, width - label.cell_len - 1))
        line = label + shown
        line.truncate(width - 1)
        return line


def column_widths(workers: int, width: int, most_rows: int) -> list[int]:
    """Return the widths of the columns that share a screen's width.

    Args:
        workers: number of workers.
        width: width of the screen.
        most_rows: rows that fit; to keep to them, columns may be narrower than `MIN_COLUMN`.
    """
    columns = max(1, min(workers, width // MIN_COLUMN), ceil(workers / max(1, most_rows)))
    columns = ceil(workers / ceil(workers / columns))
    return [width // columns + (place < width % columns) for place in range(columns)]


def per_second(count: int, seconds: float) -> str:
    """Return a rate as text."""
    return f"{count / seconds:.1f}" if seconds > 0 else "–"


def _padded_name(worker: WorkerState, workers: Sequence[WorkerState]) -> str:
    longest = max(Text(other.name).cell_len for other in workers)
    name = Text(worker.name)
    return worker.name + " " * (longest - name.cell_len)


def _panel(
    body: Text,
    width: int,
    title: str,
    style: str,
    *,
    subtitle: str | None = None,
    height: int | None = None,
) -> Panel:
    body.no_wrap = True
    return Panel(
        body,
        title=Text(title, style),
        title_align="left",
        subtitle=None if subtitle is None else Text(subtitle, style),
        subtitle_align="right",
        border_style=style,
        width=width,
        height=height,
    )


def _table(cells: Sequence[RenderableType], widths: Sequence[int]) -> Table:
    table = Table.grid()
    for width in widths:
        table.add_column(width=width, no_wrap=True)
    starts = range(0, len(cells), len(widths))
    for row in (cells[start : start + len(widths)] for start in starts):
        table.add_row(*row)
    return table
