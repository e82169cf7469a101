"""What can change in a running session: a person speaks, a worker joins, a worker leaves."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from hogwild_dist.session.spec import WorkerSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Interjection:
    """A text that everybody sees from the next step on.

    Attributes:
        name: of who speaks.
        text: what the workers read, heading included.
        token_ids: of `text`.
        target: the shared block that it is appended to.
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
        worker: its view is made of a layout's items: shared blocks, ``others``, ``worker:NAME``,
            ``own``.
    """

    worker: WorkerSpec
    kind: Literal["join"] = "join"


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveWorker:
    """A worker leaves when its paragraph ends, or at once where its text has no paragraphs.

    Attributes:
        name: of the worker.
    """

    name: str
    kind: Literal["leave"] = "leave"


Change = Interjection | AddWorker | RemoveWorker

ChangePhase = Literal["before", "during"]
"""When a change is made: before a step's forward, or after it and before its outcome is known."""

_ADAPTER: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])


def change_to_json(change: Change) -> dict[str, Any]:
    """A change as a trace keeps it."""
    fields: dict[str, Any] = _ADAPTER.dump_python(change, mode="json")
    return fields


def change_from_json(fields: Any) -> Change:
    """A change that a trace kept.

    Raises:
        ValueError: it is none.
    """
    return _ADAPTER.validate_python(fields)
