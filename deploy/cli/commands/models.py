"""`hogwild models`: lists, fetches and finds the models of the cache."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table

from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub import DEMO_MODEL, Progress, ProgressHook, list_models, resolve_model

app = typer.Typer(help="List, fetch and find models.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the cached models; the sub-commands fetch and find them."""
    if context.invoked_subcommand is None:
        show_models()


def show_models() -> None:
    """Print the cached models as a table."""
    table = Table("name", "size", "state", Column("folder", overflow="fold"))
    for model in list_models():
        state = "complete" if model.complete else "incomplete"
        table.add_row(model.name, decimal(model.size), state, str(model.path))
    if table.rows:
        Console().print(table)
    else:
        print("No model is cached yet: `hogwild models fetch` brings the demo model.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Demo model or .gguf file.")] = DEMO_MODEL,
) -> None:
    """Fetch a model into the cache, or convert a .gguf file into it."""
    found = fetch_with_progress(name)
    if isinstance(found, Path):
        print(found)
    else:
        print(f"{found} is a hub id: transformers downloads it when it is first used.")


@app.command()
def path(name: Annotated[str, typer.Argument(help="Name of a cached model.")]) -> None:
    """Print the folder of a cached model."""
    for model in list_models():
        if model.name == name and model.complete:
            print(model.path)
            return
    raise ModelError(
        f"No model {name!r} is cached: `hogwild models` lists those that are, and "
        "`hogwild models fetch` adds one."
    )


def fetch_with_progress(name: str) -> Path | str:
    """Resolve a model's name, drawing on standard error what takes time.

    Raises:
        ModelError: There is no such model, or it cannot be converted.
        DownloadError: It cannot be downloaded or stored.
    """
    # The stream is named, since a conversion redirects `sys.stderr` while it runs.
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        return resolve_model(name, PlainLines(console))
    with drawn_bar(console) as hook:
        return resolve_model(name, hook)


class PlainLines:
    """Reports progress as lines: one for each stage, and one for each quarter of a download."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __call__(self, report: Progress) -> None:
        """Print a line where the report says something new."""
        line = report.stage
        if report.total:
            quarter = 4 * report.done // report.total
            line += f" {25 * quarter}% of {decimal(report.total)}"
        if line != self._last:
            self._console.print(line, highlight=False)
            self._last = line


@contextmanager
def drawn_bar(console: Console) -> Iterator[ProgressHook]:
    """Draw one bar, for the stage that runs, and remove it at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:

        def draw(report: Progress) -> None:
            amount = f" {decimal(report.done)} of {decimal(report.total)}" if report.total else ""
            text = report.stage + amount
            if bar.tasks and bar.tasks[-1].fields["stage"] == report.stage:
                bar.update(bar.task_ids[-1], completed=report.done, description=text)
                return
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(
                text, completed=report.done, total=report.total or None, stage=report.stage
            )

        yield draw
