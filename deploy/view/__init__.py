"""How a run is shown: live on a terminal, as labelled lines in a pipe, or as JSON lines."""

from rich.console import Console

from hogwild_dist.deploy.view.base import View, ViewInfo, ViewKind
from hogwild_dist.deploy.view.jsonl import JsonView
from hogwild_dist.deploy.view.live import LiveView
from hogwild_dist.deploy.view.plain import PlainView

__all__ = ["JsonView", "LiveView", "PlainView", "View", "ViewInfo", "ViewKind", "make_view"]


def make_view(
    about: ViewInfo, kind: ViewKind | None = None, console: Console | None = None
) -> View:
    """The view of a run.

    Args:
        about: the run.
        kind: None draws live on a terminal and prints plain lines elsewhere.
        console: None is standard output.
    """
    console = console or Console()
    if kind is None:
        # The stream is asked too, since FORCE_COLOR makes any console call itself a terminal.
        drawn = console.is_interactive and console.file.isatty() and not console.is_dumb_terminal
        kind = ViewKind.LIVE if drawn else ViewKind.PLAIN
    match kind:
        case ViewKind.LIVE:
            return LiveView(console, about)
        case ViewKind.PLAIN:
            return PlainView(console, about)
        case ViewKind.JSON:
            return JsonView(console)
