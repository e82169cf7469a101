"""Changes to a running session: a person's message, a worker who joins, a worker who leaves."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from hogwild_dist.session.spec import WorkerSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Interjection:
    """A person's message, which the workers see from the next step on.

    Attributes:
        name: name of the person.
        text: text that the workers read, including its heading.
        token_ids: tokens of `text`.
        target: shared block that the text is appended to.
    """

    name: str
    text: str
    token_ids: tuple[int, ...]
    target: str
    kind: Literal["interject"] = "interject"


@dataclass(frozen=True, kw_only=True, slots=True)
class AddWorker:
    """A worker joins.

    Attributes:
        worker: specification of the worker; its view has a layout's items: shared blocks,
            ``others``, ``worker:NAME`` and ``own``.
        announcement: message that tells the team the worker's role, or None.
        role: the worker's role, for those who follow the session; workers do not read it here.
    """

    worker: WorkerSpec
    announcement: Interjection | None = None
    role: str = ""
    kind: Literal["join"] = "join"


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveWorker:
    """A worker leaves when its paragraph ends, or at once if it does not write paragraphs.

    Attributes:
        name: name of the worker.
    """

    name: str
    kind: Literal["leave"] = "leave"


Change = Interjection | AddWorker | RemoveWorker

ChangePhase = Literal["before", "during"]
"""When a change is made: before a step's forward pass, or between it and the step's outcome."""

_ADAPTER: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])


def change_to_json(change: Change) -> dict[str, Any]:
    """Return a change as JSON for a trace."""
    fields: dict[str, Any] = _ADAPTER.dump_python(change, mode="json")
    return fields


def change_from_json(fields: Any) -> Change:
    """Return the change that a trace recorded.

    Raises:
        ValueError: the fields are not those of a change.
    """
    return _ADAPTER.validate_python(fields)
