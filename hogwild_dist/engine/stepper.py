"""A step: feed every worker once, choose, and take in what all shards agree on.

Under `overlapped` visibility a step is on its way while the next one is computed.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from hogwild_dist.config import Visibility
from hogwild_dist.engine.scheduler.admission import end_in_time, schedule
from hogwild_dist.engine.scheduler.reservations import KVReservations
from hogwild_dist.engine.scheduler.step import InFlightStep, RowOutcome, SessionStep, StepOutcome
from hogwild_dist.exchange.base import AgreedStep, Exchange, RowReport, StepPlan, StepReport
from hogwild_dist.kvcache.rows import allocate_slots, release_slots
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.sampling import check_logits, summarize, uniform
from hogwild_dist.session.changes import ChangePhase
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.timeline import Timeline


class Stepper:
    """Steps sessions, together with the steppers of the other shards.

    Args:
        runner: of the model.
        exchange: of the group.
        reservations: of the sessions.
        max_step_tokens: most tokens of a step.
        timeline: takes the spans of every step.
    """

    def __init__(
        self,
        runner: ModelRunner,
        exchange: Exchange,
        reservations: KVReservations,
        max_step_tokens: int,
        timeline: Timeline,
    ) -> None:
        self._runner = runner
        self._exchange = exchange
        self._reservations = reservations
        self._cache = reservations.cache
        self._max_step_tokens = max_step_tokens
        self._timeline = timeline
        self._rank = exchange.rank
        self._num_steps = 0
        self._flight: InFlightStep | None = None
        self._skipped_last_step: set[Session] = set()  # they come first in the next step

    @property
    def overlaps(self) -> bool:
        """Whether a step's outcome is taken in only after the next forward."""
        return self._exchange.visibility is Visibility.OVERLAPPED

    def phase(self, session: Session) -> ChangePhase:
        """Where in its next step a session is, for changes that are made now."""
        under_way = self._flight is not None and session in self._flight.feeds
        return "during" if under_way else "before"

    def agree(self, command: int) -> int:
        """Exchange headers alone.

        Args:
            command: highest command id up to which this shard holds all.

        Returns:
            The highest that every shard holds.
        """
        self._exchange.begin(self._plan(InFlightStep({})))
        self._post(InFlightStep({}), command)
        return self._exchange.collect().command

    def step(self, sessions: Sequence[Session], latest_command: Callable[[], int]) -> StepOutcome:
        """Feed every active worker of `sessions` once, and take in what is agreed.

        Under `overlapped` visibility that is the outcome of the step before.

        Args:
            sessions: those that go on; the same on every shard.
            latest_command: returns the highest command id up to which this shard holds every
                command; called as late as possible, so that a command that arrives while the
                shard computes still takes effect in this step.
        """
        with self._timeline.span("step"):
            return self._step(sessions, latest_command)

    def _step(self, sessions: Sequence[Session], latest_command: Callable[[], int]) -> StepOutcome:
        begin = time.perf_counter()
        flight = self._compute(sessions)
        if not self.overlaps:
            return self._settle(flight, self._agree_on(flight, latest_command()), begin)
        last, self._flight = self._flight, flight
        settled = None
        if last is not None:
            settled = self._settle(last, self._exchange.collect(), begin)
        self._look_ahead(flight)
        self._post(flight, latest_command())
        return settled or StepOutcome((), (), 0, time.perf_counter() - begin)

    def drain(self) -> StepOutcome:
        """Take in the step that is on its way under `overlapped` visibility, if there is one."""
        flight, self._flight = self._flight, None
        if flight is None:
            return StepOutcome((), (), 0, 0.0)
        return self._settle(flight, self._exchange.collect(), time.perf_counter())

    def _compute(self, sessions: Sequence[Session]) -> InFlightStep:
        """Feed and choose for the workers of this shard."""
        flight = self._own_feeds(sessions) if self.overlaps else self._all_feeds(sessions)
        order = [(session, feed) for session, feeds in flight.feeds.items() for feed in feeds]
        rows = [feed.row for _, feed in order]
        slots = allocate_slots(self._cache, rows)
        try:
            flight.slots = {row.view[-1]: own for row, own in zip(rows, slots, strict=True)}
            if not self.overlaps:
                self._exchange.begin(self._plan(flight))
            mine = [i for i, (_, feed) in enumerate(order) if feed.worker.rank == self._rank]
            if not mine:
                self._follow_layers()
                return flight
            with self._timeline.span("compute"):
                logits, batch = self._runner.compute(
                    [rows[i] for i in mine],
                    [slots[i] for i in mine],
                    arriving=[rows[i] for i in range(len(rows)) if i not in mine],
                )
            check_logits(logits, self._runner.model.name)
            with self._timeline.span("sampling"):
                flight.rows = tuple(
                    self._choose(*order[i], logits[row], partial(batch.seen_ids, row))
                    for row, i in enumerate(mine)
                )
        except BaseException:
            release_slots(self._cache, rows)
            raise
        return flight

    def _follow_layers(self) -> None:
        """Take the peers' layers in where this shard has no row to compute."""
        if self._exchange.visibility is Visibility.SAME_STEP:
            for layer in range(len(self._cache.keys)):
                self._exchange.send_layer(layer)
                self._exchange.receive_layer(layer)

    def _agree_on(self, flight: InFlightStep, command: int) -> AgreedStep:
        """Agree on a step; where that fails, the blocks are as before it."""
        try:
            self._post(flight, command)
            return self._exchange.collect()
        except BaseException:
            release_slots(self._cache, [feed.row for own in flight.feeds.values() for feed in own])
            raise

    def _post(self, flight: InFlightStep, command: int) -> None:
        """Tell the others what came of this shard's rows."""
        reports = tuple(
            RowReport(
                session=row.session.id,
                worker=row.worker,
                token_id=row.token_id,
                summary=summarize(row.logits, row.allowed) if row.session.recorded else None,
            )
            for row in flight.rows
        )
        state = crc32(repr([session.fingerprint() for session in flight.feeds]).encode())
        self._exchange.post(StepReport(self._num_steps, command, state, reports))
        self._num_steps += 1

    def _settle(self, flight: InFlightStep, agreement: AgreedStep, begin: float) -> StepOutcome:
        """Take in what all shards agree on, session by session."""
        settled = list(flight.ended)
        for session, feeds in flight.feeds.items():
            if session.end_reason:
                release_slots(self._cache, [feed.row for feed in feeds])
                continue
            if not feeds:
                continue
            reports = tuple(r for r in agreement.reports if r.session == session.id)
            chosen = {r.worker: r.token_id for r in reports if r.token_id is not None}
            index, lengths = session.step, session.block_lengths(feeds)
            local_effects = flight.local_effects.get(session)
            if local_effects is not None:  # the peers' workers, whose choices are news
                for feed in feeds:
                    worker = feed.worker.index
                    if worker not in local_effects:
                        local_effects[worker] = session.apply_to_worker(feed, chosen.get(worker))
            events = session.apply(feeds, chosen, local_effects)
            if self.overlaps and not session.end_reason:
                events += end_in_time(session, flight, self._reservations)
            settled.append(
                SessionStep(session, index, tuple(feeds), reports, lengths, tuple(events))
            )
        seconds = time.perf_counter() - begin
        return StepOutcome(tuple(settled), flight.rows, agreement.command, seconds)

    def _all_feeds(self, sessions: Sequence[Session]) -> InFlightStep:
        """Feeds of everybody's workers."""
        order = sorted(sessions, key=lambda session: session not in self._skipped_last_step)
        flight = schedule(order, self._reservations, self._max_step_tokens)
        taken = {*flight.feeds, *(one.session for one in flight.ended)}
        self._skipped_last_step = {session for session in sessions if session not in taken}
        return flight

    def _own_feeds(self, sessions: Sequence[Session]) -> InFlightStep:
        """Under `overlapped` visibility: feeds of this shard's workers."""
        return InFlightStep(
            {
                session: [
                    session.feed(worker, self._share(session))
                    for worker in session.active_workers
                    if worker.rank == self._rank
                ]
                for session in sessions
            },
            sides={session: session.answer_collector.side for session in sessions},
        )

    def _share(self, session: Session) -> int:
        """Under `overlapped` visibility: most tokens that a worker of this session feeds."""
        return max(1, self._max_step_tokens // len(session.workers))

    def _look_ahead(self, flight: InFlightStep) -> None:
        """Under `overlapped` visibility: own workers go on; what the peers fed is now known."""
        for session, own in list(flight.feeds.items()):
            if (
                session.end_reason or session.answer_collector.side != flight.sides[session]
            ):  # who writes now is not who has just been computed
                release_slots(self._cache, [feed.row for feed in own])
                del flight.feeds[session]
                continue
            tokens = {r.worker: r.token_id for r in flight.rows if r.session is session}
            peers = [
                session.feed(worker, self._share(session))
                for worker in session.active_workers
                if worker.rank != self._rank
            ]
            flight.local_effects[session] = {
                feed.worker.index: session.apply_to_worker(feed, tokens[feed.worker.index])
                for feed in own
            }
            rows = [feed.row for feed in peers]
            for row, slots in zip(rows, allocate_slots(self._cache, rows), strict=True):
                flight.slots[row.view[-1]] = slots
            flight.feeds[session] = sorted((*own, *peers), key=lambda feed: feed.worker.index)
        flight.rows = tuple(row for row in flight.rows if row.session in flight.feeds)
        self._exchange.begin(self._plan(flight))

    def _plan(self, flight: InFlightStep) -> StepPlan:
        """Who feeds what, rank by rank."""
        slots: list[list[int]] = [[] for _ in range(self._exchange.world_size)]
        rows, recorded = [0] * len(slots), [0] * len(slots)
        for session, feeds in flight.feeds.items():
            for feed in feeds:
                rank = feed.worker.rank
                slots[rank] += flight.slots[feed.row.view[-1]]
                rows[rank] += 1
                recorded[rank] += session.recorded
        return StepPlan(tuple(map(tuple, slots)), tuple(rows), tuple(recorded))

    @torch.inference_mode()
    def _choose(
        self, session: Session, feed: Feed, logits: Tensor, seen_ids: Callable[[], list[int]]
    ) -> RowOutcome:
        worker = feed.worker
        allowed = worker.sampler.allowed(logits, seen_ids)
        forced = session.forced.get(worker.index, ())
        token = None
        if feed.complete and worker.num_chosen < len(forced):
            token = forced[worker.num_chosen]
        elif feed.complete:
            number = uniform(session.spec.seed, worker.index, worker.num_chosen)
            token = worker.sampler.choose(allowed, number)
        return RowOutcome(session, worker.index, feed.row.token_ids, logits, allowed, token)
