"""What a step computes and what comes of it."""

from dataclasses import dataclass, field

from torch import Tensor

from hogwild_dist.exchange.base import RowReport
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.session.events import Event
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.session.worker import TokenEffect


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What a worker of this shard fed in a step and what came of it.

    Attributes:
        session: whose.
        worker: index in the session.
        input_ids: tokens fed.
        logits: ``[vocab_size]`` after the last of them, before penalties and bans.
        allowed: the same after them.
        token_id: the token chosen, or None where more text is to be fed first.
    """

    session: Session
    worker: int
    input_ids: tuple[int, ...]
    logits: Tensor
    allowed: Tensor
    token_id: int | None


@dataclass(frozen=True, slots=True)
class SessionStep:
    """What one step brought to one session; the same on every shard.

    Attributes:
        session: which.
        index: number of the step in the session.
        feeds: what its workers fed, in team order.
        reports: what was chosen, in the same order.
        block_lengths: block name -> tokens after the forward and before the events.
        events: what followed.
    """

    session: Session
    index: int
    feeds: tuple[Feed, ...]
    reports: tuple[RowReport, ...]
    block_lengths: dict[str, int]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step that all shards agree on.

    Attributes:
        sessions: that took part.
        rows: of this shard, in the order of its packed batch.
        command: highest command id that every shard holds.
        seconds: how long the step took.
    """

    sessions: tuple[SessionStep, ...]
    rows: tuple[RowOutcome, ...]
    command: int
    seconds: float

    @property
    def events(self) -> tuple[Event, ...]:
        """Of all sessions."""
        return tuple(event for one in self.sessions for event in one.events)


@dataclass(slots=True)
class InFlightStep:
    """A step from its forward until all shards agree on it.

    Attributes:
        feeds: what every session's workers feed; under `overlapped` at first those of this shard.
        slots: slab slots of what is fed, by the block that is written.
        rows: of this shard.
        local_effects: what choices did to their own workers, where those do not wait for the team.
        ended: sessions whose team ended before the forward.
        sides: under `overlapped`, whose turn it was in each session when the forward began.
    """

    feeds: dict[Session, list[Feed]]
    slots: dict[Block, list[int]] = field(default_factory=dict)
    rows: tuple[RowOutcome, ...] = ()
    local_effects: dict[Session, dict[int, TokenEffect | None]] = field(default_factory=dict)
    ended: list[SessionStep] = field(default_factory=list)
    sides: dict[Session, int] = field(default_factory=dict)
