"""`hogwild report`: show an evaluation as a table and as a page with plots."""

import sys
from importlib.util import find_spec
from os.path import realpath
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.view.text import harmless
from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.records import Records
from hogwild_dist.evaluation.summary import Row, summarize

PAGE_BEGINS = b"<!doctype html>"


def report_command(
    results: Annotated[Path, typer.Argument(help="File that `hogwild eval` wrote with --out.")],
    out: Annotated[Path | None, typer.Option(help="Page; beside RESULTS by default.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for the plots as files.")] = None,
) -> None:
    """Print the table of RESULTS, and write its page and plots."""
    page = out or page_beside(results)
    check_page(page, results)
    records = Records(results)
    print_table(summarize(records.all, records.teams, records.budgets))
    check_plots()
    write_page(records, page, plots)


def page_beside(results: Path) -> Path:
    """Return the default path of a results file's page."""
    return results.parent / f"{results.stem}.html"


def check_page(page: Path, *kept: Path) -> None:
    """Refuse to overwrite a file that is not a page.

    Args:
        page: path of the page.
        kept: files of the evaluation, which may not exist yet.

    Raises:
        ConfigError: the path is one of the kept files, or another file that is not a page.
    """
    if realpath(page) in map(realpath, kept) or (page.is_file() and not _begins_as_page(page)):
        raise ConfigError(
            f"The page would overwrite {str(page)!r}, which is not a page; give --out another name."
        )


def check_plots() -> None:
    """Check that plots can be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "Page and plots need matplotlib, which is not installed; run "
            "`pip install -e '.[eval]'` in the clone, then `hogwild report`."
        )


def write_page(records: Records, page: Path, plots: Path | None = None) -> None:
    """Write the page, and the plots if a folder is given.

    Raises:
        ConfigError: the page or a plot cannot be written.
    """
    from hogwild_dist.evaluation.report import write_plots, write_report  # noqa: PLC0415 - an extra

    write_report(records, page)
    tell(f"page with plots and transcripts: {page}")
    for plot in write_plots(records, plots) if plots is not None else ():
        tell(f"plot: {plot}")


def print_table(rows: list[Row]) -> None:
    """Print a line for each row; figures of whole runs are in the line of the end."""
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
    OutputConsole(width=None if OutputConsole().is_terminal else 120).print(table)


def tell(line: str) -> None:
    """Print a message on standard error, separately from the results."""
    print(harmless(line), file=sys.stderr, flush=True)


def _begins_as_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(PAGE_BEGINS)).lower() == PAGE_BEGINS
    except OSError:
        return True  # the write names what is wrong with it
