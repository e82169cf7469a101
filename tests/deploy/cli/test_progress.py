"""Progress on standard error: lines in a pipe, a bar in a terminal."""

import io

from rich.console import Console

from hogwild_dist.deploy.cli.progress import PlainLines, drawn_bar
from hogwild_dist.model.hub import Progress


def test_plain_lines_come_once_for_each_quarter():
    written = io.StringIO()
    lines = PlainLines(Console(file=written))
    for done in (0, 10, 25, 30, 99, 100):
        lines(Progress("downloading", done * 1000, 100_000))
    lines(Progress("converting"))
    assert written.getvalue().splitlines() == [
        "downloading 0% of 100.0 kB",
        "downloading 25% of 100.0 kB",
        "downloading 75% of 100.0 kB",
        "downloading 100% of 100.0 kB",
        "converting",
    ]


def test_the_bar_shows_the_running_stage():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True)
    with drawn_bar(console) as hook:
        hook(Progress("downloading", 500, 1000))
        hook(Progress("converting"))
    drawn = written.getvalue()
    assert "downloading 500 bytes of 1.0 kB" in drawn
    assert drawn.rindex("converting") > drawn.rindex("downloading")
