"""The interface of a view, and the description of a run that it starts with."""

from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from hogwild_dist.actors.errors import ClusterError, LostError
from hogwild_dist.errors import HogwildError
from hogwild_dist.session.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewInfo:
    """Description of a run that does not change.

    Attributes:
        problem: text of the problem.
        names: names of the workers, in team order.
        model: name of the model.
        layout: name of the layout.
        visibility: when a worker sees the others' newest token.
        hint: help for typed lines; empty if nothing can be typed.
        asked: whether the team is asked for an answer.
        outlives: whether the session goes on when the view is left.
    """

    problem: str
    names: tuple[str, ...]
    model: str
    layout: str
    visibility: str
    hint: str = ""
    asked: bool = False
    outlives: bool = False


class ViewKind(StrEnum):
    """Kind of view."""

    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"


class View(Protocol):
    """Context manager that shows a run; it takes every event in order.

    All text that it has taken stays on the screen, even after an exception. A closed pipe
    (`| head`) ends the program silently, with exit code 1.
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


def outcome_without_end(about: ViewInfo, error: BaseException | None) -> str:
    """Return what became of a session whose end the view was not shown.

    Args:
        about: description of the run.
        error: what the view is left with.
    """
    if isinstance(error, LostError):
        return "lost"
    if isinstance(error, ClusterError):
        return "connection lost"
    if isinstance(error, HogwildError):
        return "failed"
    return "left; the session goes on" if about.outlives else "interrupted"
