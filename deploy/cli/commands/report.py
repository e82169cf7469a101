"""`hogwild report`: an evaluation as a table in the terminal, and as a page with plots."""

import sys
from importlib.util import find_spec
from os.path import realpath
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hogwild_dist.deploy.view.text import harmless
from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.records import Records
from hogwild_dist.evaluation.summary import Row, summarize

PAGE_BEGINS = b"<!doctype html>"


def report_command(
    results: Annotated[Path, typer.Argument(help="What `hogwild eval` wrote with --out.")],
    out: Annotated[Path | None, typer.Option(help="The page; beside RESULTS by default.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write the plots to a folder.")] = None,
) -> None:
    """Print the table of RESULTS again, and write its page and plots."""
    page = out or page_beside(results)
    check_page(page, results)
    records = Records(results)
    print_table(summarize(records.all, records.teams, records.budgets))
    check_plots()
    write_page(records, page, plots)


def page_beside(results: Path) -> Path:
    """Where the page of a results file is written unless somebody says where."""
    return results.parent / f"{results.stem}.html"


def check_page(page: Path, *kept: Path) -> None:
    """Refuse to write a page over something else.

    Args:
        page: where it is to be written.
        kept: files of the evaluation, whether they are there or not.

    Raises:
        ConfigError: something else is there.
    """
    if realpath(page) in map(realpath, kept) or (page.is_file() and not _begins_as_page(page)):
        raise ConfigError(
            f"The page would be written over {str(page)!r}, which is something else; give --out "
            "another name."
        )


def check_plots() -> None:
    """Say early that there will be no page.

    Raises:
        ConfigError: the library for plots is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "Page and plots need matplotlib, which is not installed; install it with "
            "pip install 'hogwild-dist[eval]' and call `hogwild report`."
        )


def write_page(records: Records, page: Path, plots: Path | None = None) -> None:
    """Write the page, and the plots where there is a folder for them.

    Raises:
        ConfigError: they cannot be written.
    """
    from hogwild_dist.evaluation.report import write_plots, write_report  # noqa: PLC0415 - an extra

    write_report(records, page)
    tell(f"page with plots and transcripts: {page}")
    for plot in write_plots(records, plots) if plots is not None else ():
        tell(f"plot: {plot}")


def print_table(rows: list[Row]) -> None:
    """Print a line for each row; figures of whole runs stand in the line of the end."""
    table = Table(box=None, pad_edge=False)
    table.add_column("team")
    for name in (
        "budget", "right", "accuracy", "95 %", "failed", "forwards", "tokens", "s", "redundancy",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            Text(harmless(row.team)),
            "end" if row.budget is None else str(row.budget),
            f"{row.right}/{row.runs}",
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            str(row.failed),
            f"{row.forwards:.0f}",
            "" if row.tokens is None else f"{row.tokens:.0f}",
            "" if row.seconds is None else f"{row.seconds:.1f}",
            "" if row.redundancy is None else f"{row.redundancy:.1%}",
        )
    Console(width=None if Console().is_terminal else 120).print(table)


def tell(line: str) -> None:
    """Say something that is none of the results."""
    print(harmless(line), file=sys.stderr, flush=True)


def _begins_as_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(PAGE_BEGINS)).lower() == PAGE_BEGINS
    except OSError:
        return True  # what cannot be read is named when it is written
