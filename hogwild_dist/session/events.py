"""What happens in a session, in the order in which it happens."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Base of all events.

    Attributes:
        step: number of the step after whose forward it happened.
    """

    kind: ClassVar[str] = "event"
    step: int

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`, with the kind under ``type``."""
        return {"type": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Text(Event):
    """A worker's text grew.

    Attributes:
        worker: index of the worker.
        name: of the worker.
        token_ids: the new tokens.
        text: what they add; empty while a character is incomplete.
        chosen: whether the worker chose them (else they are a first text, prefix or question).
    """

    kind: ClassVar[str] = "text"
    worker: int
    name: str
    token_ids: tuple[int, ...]
    text: str
    chosen: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ParagraphEnd(Event):
    """A worker finished a paragraph, which moved to a shared block.

    Attributes:
        worker: index of the worker.
        name: of the worker.
        index: number of the paragraph.
        from_block: the worker's block, empty from now on.
        to_block: the block that its K and V were appended to.
        moved: tokens moved (the newest token has no K and V yet and is not among them).
        token_ids: the paragraph, newest token included.
        text: of the paragraph.
        next_input: what the worker feeds next, or None if it stops.
        asked: whether the redundancy question is in `next_input`.
    """

    kind: ClassVar[str] = "paragraph_end"
    worker: int
    name: str
    index: int
    from_block: str
    to_block: str
    moved: int
    token_ids: tuple[int, ...]
    text: str
    next_input: tuple[int, ...] | None
    asked: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStop(Event):
    """A worker takes no part in later steps.

    Attributes:
        worker: index of the worker.
        name: of the worker.
        reason: `end_of_text`, `stop_string`, `max_tokens`, `paragraph_limit`, `step_limit`,
            `answered`, `left`, or the session's reason.
    """

    kind: ClassVar[str] = "worker_stop"
    worker: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Interjected(Event):
    """Somebody from outside spoke to the team.

    Attributes:
        name: of who spoke.
        text: that the workers read, heading included.
        token_ids: of it.
    """

    kind: ClassVar[str] = "interjection"
    name: str
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined(Event):
    """A worker joined the team.

    Attributes:
        worker: its index.
        name: of the worker.
    """

    kind: ClassVar[str] = "joined"
    worker: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused(Event):
    """A change to the session could not be made; nothing is different.

    Attributes:
        reason: in one sentence.
    """

    kind: ClassVar[str] = "refused"
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Event):
    """An answer was announced, or stated when it was asked for.

    Attributes:
        worker: index of who wrote it.
        name: of who wrote it.
        of: index of the worker whose answer it is, or None for the team's.
        answer: its text, or None where who was asked wrote none in the form.
        after: steps of the team before it.
        budget: the budget at which it was asked for, or None.
    """

    kind: ClassVar[str] = "answer"
    worker: int
    name: str
    of: int | None
    answer: str | None
    after: int
    budget: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionEnd(Event):
    """The session is over.

    Attributes:
        reason: `answered`, `all_stopped`, `max_total_tokens`, `context_limit`, `cache_limit`,
            `cancelled`, `timeout`.
    """

    kind: ClassVar[str] = "session_end"
    reason: str
