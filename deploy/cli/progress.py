"""Progress on standard error: a spinner or a bar in a terminal, lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from hogwild_dist.model.hub import Progress, ProgressHook, resolve_model


@contextmanager
def progress_lines() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the current task; an empty line ends a spinner."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: print(f"hogwild: {line}", file=sys.stderr) if line else None
        return
    status = console.status("")

    def tell(line: str) -> None:
        if line:
            status.update(line)
            status.start()
        else:
            status.stop()

    try:
        yield tell
    finally:
        status.stop()


def fetch_with_progress(name: str) -> Path | str:
    """Resolve a model's name as `resolve_model` does, and show the progress.

    Raises:
        ModelError: the model is unknown or cannot be converted.
        DownloadError: the model cannot be downloaded or stored.
    """
    # The stream is named, since a conversion redirects `sys.stderr` while it runs.
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        return resolve_model(name, PlainLines(console))
    with drawn_bar(console) as hook:
        return resolve_model(name, hook)


class PlainLines:
    """Progress as lines: one for each stage, and one for each quarter of a download."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __call__(self, report: Progress) -> None:
        """Print the report if it differs from the last line."""
        line = report.stage
        if report.total:
            quarter = 4 * report.done // report.total
            line += f" {25 * quarter}% of {decimal(report.total)}"
        if line != self._last:
            self._console.print(line, highlight=False)
            self._last = line


@contextmanager
def drawn_bar(console: Console) -> Iterator[ProgressHook]:
    """Draw one bar for the running stage, and remove it at the end."""
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
