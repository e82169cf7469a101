"""Events of a session; a session emits them in the order in which they happen."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Base class of all events.

    Attributes:
        step: number of the step after whose forward pass the event happened.
    """

    kind: ClassVar[str] = "event"
    step: int

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for `json.dumps`, with the kind under ``type``."""
        return {"type": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Text(Event):
    """A worker's text grew.

    Attributes:
        worker: index of the worker.
        name: name of the worker.
        token_ids: the new tokens.
        text: text that they add; empty while a character is incomplete.
        chosen: whether the worker chose the tokens; if not, they are a first text, a paragraph
            prefix or a question.
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
        name: name of the worker.
        index: number of the paragraph.
        from_block: name of the worker's block, which is empty afterwards.
        to_block: name of the block that the paragraph's K and V were appended to.
        moved: number of tokens moved; the newest token is not among them, since it has no K and V
            yet.
        token_ids: tokens of the paragraph, including the newest.
        text: text of the paragraph.
        next_input: tokens that the worker feeds next, or None if it stops.
        asked: whether `next_input` contains the redundancy question.
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
    """A worker stopped and takes no part in later steps.

    Attributes:
        worker: index of the worker.
        name: name of the worker.
        reason: why it stopped: `end_of_text`, `stop_string`, `max_tokens`, `paragraph_limit`,
            `step_limit`, `answered`, `left`, or the session's reason.
    """

    kind: ClassVar[str] = "worker_stop"
    worker: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Interjected(Event):
    """A person sent a message to the team.

    Attributes:
        name: name of the person.
        text: text that the workers read, including its heading.
        token_ids: tokens of the text.
    """

    kind: ClassVar[str] = "interjection"
    name: str
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined(Event):
    """A worker joined the team.

    Attributes:
        worker: index of the worker.
        name: name of the worker.
        role: role of the worker; empty if it has none.
    """

    kind: ClassVar[str] = "joined"
    worker: int
    name: str
    role: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused(Event):
    """A change was refused; the session is unchanged.

    Attributes:
        reason: the reason, as one sentence.
        change: kind of the change: `interject`, `join` or `leave`; empty if it was not understood.
    """

    kind: ClassVar[str] = "refused"
    reason: str
    change: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Event):
    """A worker announced an answer, or a finisher stated one.

    Attributes:
        worker: index of the worker that wrote it.
        name: name of that worker.
        of: index of the worker whose answer it is, or None for the team's.
        answer: text of the answer, or None if a finisher wrote none in the required form.
        after: number of the team's steps before the answer.
        budget: the budget at which the answer was requested, or None.
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
    """The session has ended.

    Attributes:
        reason: why it ended: `answered`, `all_stopped`, `max_total_tokens`, `context_limit`,
            `cache_limit`, `cancelled`, `timeout` or `failed`.
    """

    kind: ClassVar[str] = "session_end"
    reason: str
