"""What a view is, and what it is told at the start."""

from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from hogwild_dist.session.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewInfo:
    """What does not change during a run.

    Attributes:
        problem: what was asked.
        names: of the workers, in team order.
        model: its name.
        layout: its name.
        visibility: when a worker sees the others' newest token.
    """

    problem: str
    names: tuple[str, ...]
    model: str
    layout: str
    visibility: str
    hint: str = ""
    """What can be typed, where something can."""
    asked: bool = False
    """Whether the team is to come to an answer."""


class ViewKind(StrEnum):
    """How a run is shown."""

    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"


class View(Protocol):
    """Shows a run: enter it, hand it every event in order, leave it.

    However it is left, all text that it was handed stays on the screen. A reader that goes away
    (`| head`) ends the program quietly, with exit code 1.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def handle(self, event: Event) -> None:
        """Show one event."""
