"""A decode step under `overlapped` visibility: a step is exchanged while the next one computes.

A shard knows the tokens of its own workers at once and those of its peers one step later. So a step
first computes this shard's rows, then collects and applies the step before, and only then posts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from hogwild_dist.engine.containment import failure_of
from hogwild_dist.engine.rounds import Rounds
from hogwild_dist.engine.scheduler.admission import end_in_time
from hogwild_dist.engine.scheduler.reservations import KVReservations
from hogwild_dist.engine.scheduler.step import (
    InFlightStep,
    SessionStep,
    StepOutcome,
    apply_agreed,
)
from hogwild_dist.engine.shard_forward import ShardForward
from hogwild_dist.exchange.base import AgreedStep
from hogwild_dist.kvcache.rows import allocate_slots, release_slots
from hogwild_dist.session.changes import ChangePhase
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.timeline import Timeline


class OverlappedStepper:
    """Steps sessions; each call returns the outcome of the step before.

    Args:
        forward: computes this shard's rows.
        rounds: completes the rounds of this shard, with its exchange.
        reservations: the cache pages that sessions may use.
        max_step_tokens: the most tokens that the workers of a session feed in one step.
        timeline: records the spans of every step.
    """

    def __init__(
        self,
        forward: ShardForward,
        rounds: Rounds,
        reservations: KVReservations,
        max_step_tokens: int,
        timeline: Timeline,
    ) -> None:
        self._forward = forward
        self._exchange = rounds.exchange
        self._rounds = rounds
        self._reservations = reservations
        self._cache = reservations.cache
        self._max_step_tokens = max_step_tokens
        self._timeline = timeline
        self._in_flight: InFlightStep | None = None

    def step(self, sessions: Sequence[Session], latest_command: Callable[[], int]) -> StepOutcome:
        """Compute and post a step of `sessions`; collect and apply the one before.

        Args:
            sessions: the running sessions, in the same order on every shard.
            latest_command: returns the highest command id up to which this shard holds every
                command; called as late as possible.

        Returns:
            The outcome of the step before; empty for the first.

        Raises:
            ExchangeError: a peer is lost or disagrees.
        """
        begin = time.perf_counter()
        with self._timeline.span("step"):
            step = self._own_feeds(sessions)
            with self._forward.allocated(step):
                self._forward.compute(step)
            last, self._in_flight = self._in_flight, step
            outcome = self._finish(last, begin)
            self._drop_changed(step)
            for session, own in step.feeds.items():
                step.feeds[session] = self._apply_own(session, own, step)
            self._exchange.begin(step.plan(self._exchange.world_size))
            self._forward.post(step, latest_command())
            return outcome

    def drain(self) -> StepOutcome:
        """Collect and apply the step in flight, if there is one."""
        last, self._in_flight = self._in_flight, None
        return self._finish(last, time.perf_counter())

    def phase(self, session: Session) -> ChangePhase:
        """Return when a change made now takes effect: during a step if one is in flight."""
        in_flight = self._in_flight is not None and session in self._in_flight.feeds
        return "during" if in_flight else "before"

    def _own_feeds(self, sessions: Sequence[Session]) -> InFlightStep:
        """Return what the workers of this shard feed, without sessions that are about to fail."""
        last = self._in_flight
        going_on = [one for one in sessions if last is None or not last.fails(one)]
        return InFlightStep(
            {session: self._feeds(session, own=True) for session in going_on},
            sides={session: session.answer_collector.side for session in going_on},
        )

    def _feeds(self, session: Session, *, own: bool) -> list[Feed]:
        """Return what this shard's workers of a session feed, or what the peers' workers do."""
        most = max(1, self._max_step_tokens // len(session.workers))
        rank = self._exchange.rank
        return [
            session.feed(worker, most)
            for worker in session.active_workers
            if (worker.rank == rank) == own
        ]

    def _finish(self, step: InFlightStep | None, begin: float) -> StepOutcome:
        """Collect a posted step and apply it."""
        if step is None:
            return StepOutcome((), (), 0, time.perf_counter() - begin)
        agreed = self._rounds.complete(self._exchange.collect, _never)
        assert agreed is not None, "a step has an outcome"
        applied = []
        for session, feeds in step.feeds.items():
            if session.end_reason:
                self._release(session, feeds)
            elif feeds:
                applied.append(self._apply(session, feeds, agreed, step))
        seconds = time.perf_counter() - begin
        return StepOutcome(tuple(applied), step.outcomes, agreed.command, seconds)

    def _apply(
        self, session: Session, feeds: list[Feed], agreed: AgreedStep, step: InFlightStep
    ) -> SessionStep:
        """Apply a session's agreed tokens; end the session if its next steps might not fit."""
        if session in step.failures:
            events = session.break_off(step.failures[session])
            lengths = session.blocks.lengths()
            return SessionStep(session, session.step, tuple(feeds), (), lengths, tuple(events))
        applied = apply_agreed(session, feeds, agreed, step.local_effects[session])
        if session.end_reason:
            return applied
        ending = end_in_time(session, step, self._reservations)
        return replace(applied, events=(*applied.events, *ending))

    def _drop_changed(self, step: InFlightStep) -> None:
        """Drop sessions that ended, or whose side changed, since the forward began."""
        for session, own in list(step.feeds.items()):
            if session.end_reason or session.answer_collector.side != step.sides[session]:
                self._release(session, own)
                del step.feeds[session]
        step.outcomes = tuple(one for one in step.outcomes if one.session in step.feeds)

    def _release(self, session: Session, feeds: Sequence[Feed]) -> None:
        """Give back the slots of a step that is not applied; a failed session frees all its slots.

        An error in a session's rules may have left its blocks in any state.
        """
        if session.failure is None:
            release_slots(self._cache, [feed.row for feed in feeds])

    def _apply_own(self, session: Session, own: list[Feed], step: InFlightStep) -> list[Feed]:
        """Apply the own workers' tokens to these workers, and add what the peers feed.

        Returns:
            All feeds of the session's step, in team order.
        """
        peers = self._feeds(session, own=False)
        chosen = {one.worker: one.token_id for one in step.outcomes if one.session is session}
        try:
            step.local_effects[session] = {
                feed.worker.index: session.apply_to_worker(feed, chosen[feed.worker.index])
                for feed in own
            }
        except Exception as error:  # the peers meet it when they apply the step
            step.failures[session] = failure_of(session, error)
        rows = [feed.row for feed in peers]
        for row, slots in zip(rows, allocate_slots(self._cache, rows), strict=True):
            step.slots[row.view[-1]] = slots
        return sorted((*own, *peers), key=lambda feed: feed.worker.index)


def _never() -> None:
    raise AssertionError("a step in flight saw what has changed since; it cannot be computed again")
