"""Views of a run: live on a terminal, labelled lines in a pipe, or JSON lines."""

import time
from collections.abc import Callable

from rich.console import Console

from hogwild_dist.deploy.view.base import View, ViewInfo, ViewKind
from hogwild_dist.deploy.view.jsonl import JsonView
from hogwild_dist.deploy.view.live import LiveView
from hogwild_dist.deploy.view.plain import PlainView

__all__ = ["JsonView", "LiveView", "PlainView", "View", "ViewInfo", "ViewKind", "make_view"]


def make_view(
    about: ViewInfo,
    kind: ViewKind | None = None,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> View:
    """Return the view of a run.

    Args:
        about: description of the run.
        kind: kind of view; None draws live on a terminal and prints plain lines elsewhere.
        console: console to write to; None is standard output.
        clock: returns the time in seconds, by which speeds are computed.
    """
    console = console or Console()
    if kind is None:
        # FORCE_COLOR makes rich take any console for a terminal, so the stream is checked as well.
        drawn = console.is_interactive and console.file.isatty() and not console.is_dumb_terminal
        kind = ViewKind.LIVE if drawn else ViewKind.PLAIN
    match kind:
        case ViewKind.LIVE:
            return LiveView(console, about, clock)
        case ViewKind.PLAIN:
            return PlainView(console, about, clock)
        case ViewKind.JSON:
            return JsonView(console)
