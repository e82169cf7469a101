"""Draws the live view as an SVG picture from the output of `hogwild run --json`."""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from hogwild_dist.deploy.view import ViewInfo
from hogwild_dist.deploy.view.screen import Screen
from hogwild_dist.deploy.view.state import TeamState
from hogwild_dist.session.events import Event, ParagraphEnd, SessionEnd, Text, WorkerStop

KINDS = {event.kind: event for event in (Text, ParagraphEnd, WorkerStop, SessionEnd)}


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=Path, help="file of JSON lines")
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--at", type=int, help="number of events to apply (default: all)")
    parser.add_argument("--seconds", type=float, required=True, help="elapsed time to show")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--height", type=int, default=28)
    for name in ("problem", "model", "layout", "visibility"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    events = list(read_events(given.events))
    workers = {event.worker: event.name for event in events if isinstance(event, Text)}
    about = ViewInfo(
        problem=given.problem,
        names=tuple(workers[index] for index in sorted(workers)),
        model=given.model,
        layout=given.layout,
        visibility=given.visibility,
    )
    state = TeamState.before(about)
    for event in events[: given.at]:
        state = state.after(event, 0.0)
    console = Console(record=True, file=io.StringIO(), width=given.width, height=given.height)
    console.print(Screen(about, state, given.seconds))
    console.save_svg(str(given.picture), title="hogwild run")


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            yield KINDS[fields.pop("type")](**fields)


if __name__ == "__main__":
    main()
