"""The engine: one model, one cache, any number of sessions, one forward a step.

Alone it computes every worker. As a shard of a group it computes its own workers; the exchange
brings the others', and all shards take in the same outcomes in the same order.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from zlib import crc32

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hogwild_dist.admission import admit, check_fits, check_ids, check_room, end_in_time
from hogwild_dist.altering import alter
from hogwild_dist.batch import Row, make_room, undo_batch
from hogwild_dist.cache import Block, KVCache
from hogwild_dist.changes import Change, Moment
from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.events import Event
from hogwild_dist.exchange.base import Agreement, Exchange, News, RowReport, StepPlan
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.model import LoadedModel
from hogwild_dist.outcome import Flight, RowOutcome, SessionStep, StepOutcome
from hogwild_dist.placement import home_rank, worker_ranks
from hogwild_dist.runner import ModelRunner
from hogwild_dist.sampling import summarize, uniform
from hogwild_dist.session import Feed, Session
from hogwild_dist.spec import SessionSpec
from hogwild_dist.timeline import Timeline


class Engine:
    """Runs sessions on one model.

    Args:
        model: the model.
        tokenizer: its fast tokenizer.
        config: what is fixed for the engine's life.
        exchange: None for a single process.
        cache: the one that the exchange fills; None makes one.
        timeline: takes the spans of every step.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EngineConfig | None = None,
        exchange: Exchange | None = None,
        *,
        cache: KVCache | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.model = model
        self.tokenizer = tokenizer
        self.exchange = exchange or LocalExchange(self.config.visibility)
        self.cache = cache or model.new_cache(self.config.cache_tokens)
        self.runner = ModelRunner(model, self.cache, self.exchange)
        self.timeline = timeline or Timeline()
        self._num_started = 0
        self._num_steps = 0
        self._flight: Flight | None = None

    @property
    def rank(self) -> int:
        """Of this shard in its group."""
        return self.exchange.rank

    @property
    def overlaps(self) -> bool:
        """Whether a step's outcome is taken in only after the next forward."""
        return self.exchange.visibility is Visibility.OVERLAPPED

    def start(
        self,
        spec: SessionSpec,
        *,
        number: int | None = None,
        recorded: bool = False,
        forced: Mapping[int, Sequence[int]] | None = None,
    ) -> Session:
        """Encode the shared blocks of a new session.

        Args:
            spec: what it starts from.
            number: id of the session, None counts; the same on every shard.
            recorded: whether its steps keep summaries of the logits, for a trace.
            forced: worker index -> its first choices, which are taken over in place of sampling.

        Raises:
            ContextLimitError: they do not fit; nothing is kept of the session.
            ConfigError: a token id is not the model's.
        """
        check_ids(spec, self.model)
        check_fits(spec, self.model, self.cache, self.config.cache_tokens)
        number = self._num_started if number is None else number
        world = self.exchange.world_size
        ranks = worker_ranks(number, len(spec.workers), world)
        ranks += (home_rank(number, world),) * len(spec.finishers)
        session = Session(
            number, spec, self.cache, self.tokenizer, ranks, recorded=recorded, forced=forced
        )
        self._num_started = number + 1
        try:
            for name, ids in spec.shared.items():
                self._encode_shared(session, (session.blocks[name],), ids)
        except BaseException:
            session.free()
            raise
        return session

    def alter(self, session: Session, change: Change) -> list[Event]:
        """Change a session that goes on; see `altering.alter`. Every shard calls it alike."""
        world = self.exchange.world_size
        rank = (home_rank(session.id, world) + len(session.workers)) % world

        def encode(view: tuple[Block, ...], token_ids: tuple[int, ...]) -> None:
            check_room(self.cache, view, len(token_ids), self.model.max_positions)
            self._encode_shared(session, view, token_ids)

        return alter(session, change, self.moment(session), rank, encode)

    def moment(self, session: Session) -> Moment:
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
        self.exchange.begin(self._plan(Flight({})))
        self._post(Flight({}), command)
        return self.exchange.collect().command

    def step(self, sessions: Sequence[Session], command: int = 0) -> StepOutcome:
        """Feed every active worker of `sessions` once, and take in what is agreed.

        Under `overlapped` visibility that is the outcome of the step before.

        Args:
            sessions: those that go on; the same on every shard.
            command: highest command id up to which this shard holds all.
        """
        with self.timeline.span("step"):
            return self._step(sessions, command)

    def _step(self, sessions: Sequence[Session], command: int) -> StepOutcome:
        begin = time.perf_counter()
        flight = self._compute(sessions)
        if not self.overlaps:
            return self._settle(flight, self._exchange(flight, command), begin)
        last, self._flight = self._flight, flight
        settled = None
        if last is not None:
            settled = self._settle(last, self.exchange.collect(), begin)
        self._look_ahead(flight)
        self._post(flight, command)
        return settled or StepOutcome((), (), 0, time.perf_counter() - begin)

    def drain(self) -> StepOutcome:
        """Take in the step that is on its way under `overlapped` visibility, if there is one."""
        flight, self._flight = self._flight, None
        if flight is None:
            return StepOutcome((), (), 0, 0.0)
        return self._settle(flight, self.exchange.collect(), time.perf_counter())

    def _encode_shared(
        self, session: Session, view: tuple[Block, ...], token_ids: Sequence[int]
    ) -> None:
        """Append to the last block of a view on the session's home shard; the others receive it."""
        block, chunk = view[-1], self.config.prefill_chunk
        home = home_rank(session.id, self.exchange.world_size)
        for begin in range(0, len(token_ids), chunk):
            row = Row(view, tuple(token_ids[begin : begin + chunk]))
            slots = make_room(self.cache, [row])
            if home == self.exchange.rank:
                self.runner.compute([row], slots, arriving=None)
            sent: list[Sequence[int]] = [()] * self.exchange.world_size
            sent[home] = slots[0]
            self.exchange.share(sent)
            self.cache.commit(block, len(row.token_ids))

    def _compute(self, sessions: Sequence[Session]) -> Flight:
        """Feed and choose for the workers of this shard."""
        flight = self._own_feeds(sessions) if self.overlaps else self._all_feeds(sessions)
        order = [(session, feed) for session, feeds in flight.feeds.items() for feed in feeds]
        rows = [feed.row for _, feed in order]
        slots = make_room(self.cache, rows)
        try:
            flight.slots = {row.view[-1]: own for row, own in zip(rows, slots, strict=True)}
            if not self.overlaps:
                self.exchange.begin(self._plan(flight))
            mine = [i for i, (_, feed) in enumerate(order) if feed.worker.rank == self.rank]
            if not mine:
                self._follow_layers()
                return flight
            with self.timeline.span("compute"):
                logits, batch = self.runner.compute(
                    [rows[i] for i in mine],
                    [slots[i] for i in mine],
                    arriving=[rows[i] for i in range(len(rows)) if i not in mine],
                )
            with self.timeline.span("sampling"):
                flight.rows = tuple(
                    self._choose(*order[i], logits[row], partial(batch.seen_ids, row))
                    for row, i in enumerate(mine)
                )
        except BaseException:
            undo_batch(self.cache, rows)
            raise
        return flight

    def _follow_layers(self) -> None:
        """Take the peers' layers in where this shard has no row to compute."""
        if self.exchange.visibility is Visibility.SAME_STEP:
            for layer in range(len(self.cache.keys)):
                self.exchange.send_layer(layer)
                self.exchange.receive_layer(layer)

    def _exchange(self, flight: Flight, command: int) -> Agreement:
        """Agree on a step; where that fails, the blocks are as before it."""
        try:
            self._post(flight, command)
            return self.exchange.collect()
        except BaseException:
            undo_batch(self.cache, [feed.row for own in flight.feeds.values() for feed in own])
            raise

    def _post(self, flight: Flight, command: int) -> None:
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
        self.exchange.post(News(self._num_steps, command, state, reports))
        self._num_steps += 1

    def _settle(self, flight: Flight, agreement: Agreement, begin: float) -> StepOutcome:
        """Take in what all shards agree on, session by session."""
        settled = list(flight.ended)
        for session, feeds in flight.feeds.items():
            if session.end_reason:
                undo_batch(self.cache, [feed.row for feed in feeds])
                continue
            if not feeds:
                continue
            reports = tuple(r for r in agreement.reports if r.session == session.id)
            chosen = {r.worker: r.token_id for r in reports if r.token_id is not None}
            index, lengths = session.step, session.block_lengths(feeds)
            early = flight.early.get(session)
            if early is not None:  # the peers' workers, whose choices are news
                for feed in feeds:
                    worker = feed.worker.index
                    if worker not in early:
                        early[worker] = session.advance(feed, chosen.get(worker))
            events = session.apply(feeds, chosen, early)
            if self.overlaps and not session.end_reason:
                events += end_in_time(session, flight, self.cache, self.model.max_positions)
            settled.append(
                SessionStep(session, index, tuple(feeds), reports, lengths, tuple(events))
            )
        seconds = time.perf_counter() - begin
        return StepOutcome(tuple(settled), flight.rows, agreement.command, seconds)

    def _all_feeds(self, sessions: Sequence[Session]) -> Flight:
        """Feeds of everybody's workers."""
        limit = self.config.max_step_tokens
        return admit(sessions, self.cache, self.model.max_positions, limit)

    def _own_feeds(self, sessions: Sequence[Session]) -> Flight:
        """Under `overlapped` visibility: feeds of this shard's workers."""
        share = max(1, self.config.max_step_tokens // max(1, sum(len(s.workers) for s in sessions)))
        return Flight(
            {
                session: [
                    session.feed(worker, share)
                    for worker in session.active_workers
                    if worker.rank == self.rank
                ]
                for session in sessions
            },
            share=share,
            asking=frozenset(session for session in sessions if session.finishing.asking),
        )

    def _look_ahead(self, flight: Flight) -> None:
        """Under `overlapped` visibility: own workers go on; what the peers fed is now known."""
        for session, own in list(flight.feeds.items()):
            changed = session.finishing.asking != (session in flight.asking)
            if session.end_reason or changed:  # who writes now is not who has just been computed
                undo_batch(self.cache, [feed.row for feed in own])
                del flight.feeds[session]
                continue
            tokens = {r.worker: r.token_id for r in flight.rows if r.session is session}
            peers = [
                session.feed(worker, flight.share)
                for worker in session.active_workers
                if worker.rank != self.rank
            ]
            flight.early[session] = {
                feed.worker.index: session.advance(feed, tokens[feed.worker.index]) for feed in own
            }
            rows = [feed.row for feed in peers]
            for row, slots in zip(rows, make_room(self.cache, rows), strict=True):
                flight.slots[row.view[-1]] = slots
            flight.feeds[session] = sorted((*own, *peers), key=lambda feed: feed.worker.index)
        flight.rows = tuple(row for row in flight.rows if row.session in flight.feeds)
        self.exchange.begin(self._plan(flight))

    def _plan(self, flight: Flight) -> StepPlan:
        """Who feeds what, rank by rank."""
        slots: list[list[int]] = [[] for _ in range(self.exchange.world_size)]
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
