"""A step in flight, and its outcome for each row and each session."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from hogwild_dist.engine.containment import contain, no_numbers
from hogwild_dist.errors import HogwildError
from hogwild_dist.exchange.base import AgreedStep, RowReport, StepPlan
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.session.events import Event
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.session.worker import TokenEffect


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What one worker of this shard fed in a step, and the token chosen for it.

    Attributes:
        session: the worker's session.
        worker: index of the worker in the session.
        input_ids: the tokens that were fed.
        logits: ``[vocab_size]`` after the last token fed, before penalties and bans.
        allowed: ``[vocab_size]`` logits after penalties and bans.
        token_id: the chosen token, or None if the worker has more text to feed first.
        failed: whether the session must end, since no token can be chosen for the row.
    """

    session: Session
    worker: int
    input_ids: tuple[int, ...]
    logits: Tensor
    allowed: Tensor
    token_id: int | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SessionStep:
    """The outcome of one step for one session; the same on every shard.

    Attributes:
        session: the session.
        index: number of the step in the session.
        feeds: what its workers fed, in team order.
        reports: the chosen tokens, in team order.
        block_lengths: block name -> tokens after the forward and before the events.
        events: the events that followed.
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
        sessions: outcomes of the sessions that took part.
        rows: outcomes of this shard's rows, in the order of its packed batch.
        command: the highest command id up to which every shard holds every command.
        seconds: duration of the step.
    """

    sessions: tuple[SessionStep, ...]
    rows: tuple[RowOutcome, ...]
    command: int
    seconds: float

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of all sessions."""
        return tuple(event for one in self.sessions for event in one.events)


@dataclass(slots=True)
class InFlightStep:
    """A step from its scheduling until all shards agree on it.

    Attributes:
        feeds: what every session's workers feed; under `overlapped` visibility only this shard's
            workers until the forward has run.
        slots: block that is written -> cache slots of its new tokens.
        outcomes: outcomes of this shard's rows.
        local_effects: session -> worker index -> the effect of a token on its own worker, if it
            was applied before the shards agreed on the step.
        ended: sessions that ended when the step was scheduled.
        sides: under `overlapped` visibility, the side that wrote when the forward began.
        failures: session -> the error of a token on its own worker, if it was applied before the
            shards agreed on the step.
    """

    feeds: dict[Session, list[Feed]]
    slots: dict[Block, list[int]] = field(default_factory=dict)
    outcomes: tuple[RowOutcome, ...] = ()
    local_effects: dict[Session, dict[int, TokenEffect | None]] = field(default_factory=dict)
    ended: list[SessionStep] = field(default_factory=list)
    sides: dict[Session, int] = field(default_factory=dict)
    failures: dict[Session, HogwildError] = field(default_factory=dict)

    def fails(self, session: Session) -> bool:
        """Return whether this shard knows already that the step ends a session by an error."""
        failed = any(row.failed for row in self.outcomes if row.session is session)
        return failed or session in self.failures

    @property
    def input_rows(self) -> list[Row]:
        """The rows that the step feeds, session by session."""
        return [feed.row for feeds in self.feeds.values() for feed in feeds]

    def plan(self, world_size: int) -> StepPlan:
        """Return what every rank feeds.

        Args:
            world_size: number of shards in the group.
        """
        slots: list[list[int]] = [[] for _ in range(world_size)]
        rows, recorded = [0] * world_size, [0] * world_size
        for session, feeds in self.feeds.items():
            for feed in feeds:
                rank = feed.worker.rank
                slots[rank] += self.slots[feed.row.view[-1]]
                rows[rank] += 1
                recorded[rank] += session.recorded
        return StepPlan(tuple(map(tuple, slots)), tuple(rows), tuple(recorded))


def apply_agreed(
    session: Session,
    feeds: Sequence[Feed],
    agreed: AgreedStep,
    local_effects: dict[int, TokenEffect | None] | None = None,
) -> SessionStep:
    """Apply the tokens that all shards agree on to one session.

    Args:
        session: a session that took part in the step.
        feeds: what its workers fed.
        agreed: the reports of all shards.
        local_effects: worker index -> the effect of the token on its worker, for the workers
            to which it was applied already; None applies all tokens here.
    """
    reports = tuple(report for report in agreed.reports if report.session == session.id)
    chosen = {r.worker: r.token_id for r in reports if r.token_id is not None}
    index, lengths = session.step, session.block_lengths(feeds)

    def apply() -> list[Event]:
        if local_effects is not None:
            for feed in feeds:
                worker = feed.worker.index
                if worker not in local_effects:
                    local_effects[worker] = session.apply_to_worker(feed, chosen.get(worker))
        return session.apply(feeds, chosen, local_effects)

    events = contain(session, apply)
    failed = [session.workers[report.worker] for report in reports if report.failed]
    if failed and not session.end_reason:
        events += contain(session, lambda: session.fail(no_numbers(failed[0])))
    return SessionStep(session, index, tuple(feeds), reports, lengths, tuple(events))
