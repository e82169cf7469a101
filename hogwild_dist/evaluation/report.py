"""The report of an evaluation: one HTML file with a table, plots and every transcript."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.passages import Passage
from hogwild_dist.evaluation.plots import accuracy_plot, as_svg, redundancy_plot
from hogwild_dist.evaluation.records import Record, Records
from hogwild_dist.evaluation.summary import summarize

COLOURS = 8
"""Number of colours on the page; a ninth worker has the first again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The place of a passage in the grid of a transcript.

    Attributes:
        column: column of its worker, from 1.
        row: first row, from 2; row 1 has the names.
        end_row: row after the last one.
        colour: number of its worker's colour, from 0.
        passage: passage to show.
    """

    column: int
    row: int
    end_row: int
    colour: int
    passage: Passage


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """All runs on one question.

    Attributes:
        line: line of the question in the dataset.
        text: text of the question.
        known: known answer or unit tests.
        records: records of the runs, by team and seed.
    """

    line: int
    text: str
    known: str
    records: Sequence[Record]

    @property
    def verdict(self) -> str:
        """The final answers of the runs: all `right`, all `wrong`, or `mixed`."""
        ends = {bool(record.right and record.right[-1]) for record in self.records}
        return "mixed" if len(ends) > 1 else "right" if True in ends else "wrong"


def columns(record: Record) -> list[str]:
    """Return the writers: workers in team order, then others in the order of their first text."""
    writers = dict.fromkeys(passage.who for passage in record.transcript)
    workers = [name for name in record.redundancy if name in writers]
    return list(dict.fromkeys([*workers, *writers]))


def cells(record: Record) -> list[Cell]:
    """Return the grid of a transcript: a column for each worker, and rows in order of time.

    A passage spans the rows from its first step to its last, so that passages side by side were
    written at the same time.
    """
    names, transcript = columns(record), record.transcript
    starts = sorted({passage.begin for passage in transcript})
    free_row: dict[str, int] = {}
    placed = []
    for passage in transcript:
        row = max(starts.index(passage.begin) + 2, free_row.get(passage.who, 2))
        later = [index for index, start in enumerate(starts, start=2) if start >= passage.end]
        end_row = max(row + 1, later[0] if later else len(starts) + 2)
        free_row[passage.who] = end_row
        column = names.index(passage.who)
        placed.append(
            Cell(
                column=column + 1,
                row=row,
                end_row=end_row,
                colour=column % COLOURS,
                passage=passage,
            )
        )
    return placed


def questions(records: Sequence[Record], teams: Sequence[str]) -> list[Question]:
    """Return the records grouped by question."""
    ordered = sorted(records, key=lambda run: (run.line, teams.index(run.team), run.seed))
    grouped = [list(group) for _, group in groupby(ordered, key=lambda run: run.line)]
    return [
        Question(line=group[0].line, text=group[0].question, known=group[0].known, records=group)
        for group in grouped
    ]


def figures(records: Records) -> dict[str, Figure]:
    """Return the plots by name."""
    teams, budgets = records.teams, records.budgets
    return {
        "accuracy": accuracy_plot(summarize(records.all, teams, budgets)),
        "redundancy": redundancy_plot(records.all, teams),
    }


def report(records: Records) -> str:
    """Return the page as HTML; it needs no other file and no network."""
    teams, budgets = records.teams, records.budgets
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        settings={name: value for name, value in records.settings.items() if value is not None},
        rows=summarize(records.all, teams, budgets),
        budgets=[*budgets, "end"],
        plots={name: Markup(as_svg(figure)) for name, figure in figures(records).items()},
        questions=questions(records.all, teams),
        columns=columns,
        cells=cells,
    )


def write_report(records: Records, path: Path) -> None:
    """Write the page to a file.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.write_text(report(records), encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"Report {str(path)!r} cannot be written: {error.strerror}.") from error


def write_plots(records: Records, folder: Path) -> list[Path]:
    """Write `accuracy.svg` and `redundancy.svg` to a folder and return their paths.

    Raises:
        ConfigError: the folder or a file cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures(records).items():
            paths.append(folder / f"{name}.svg")
            paths[-1].write_text(as_svg(figure), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Plots {str(folder)!r} cannot be written: {error.strerror}.") from error
    return paths
