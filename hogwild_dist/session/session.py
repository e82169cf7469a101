"""A session: the rules by which a team's text grows. Its state is the same on every shard.

A session says which tokens to feed (`feeds`) and is given the tokens that were chosen; it never
runs the model. A token's effect on its own worker (`apply_to_worker`, see `writer`) is separate
from its effect on the team (`apply`, see `history` and `termination`): under `overlapped`
visibility a worker continues before the team has seen its newest token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from hogwild_dist.errors import HogwildError
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.kvcache.session_blocks import SessionBlocks
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.session.answer_collector import AnswerCollector
from hogwild_dist.session.changes import Change, ChangePhase
from hogwild_dist.session.events import Event, Text
from hogwild_dist.session.history import History
from hogwild_dist.session.spec import SessionSpec, WorkerSpec
from hogwild_dist.session.termination import FAILED, Termination
from hogwild_dist.session.worker import TokenEffect, Worker, team_of
from hogwild_dist.session.writer import Writer


@dataclass(frozen=True, slots=True)
class Feed:
    """What one worker feeds in a step.

    Attributes:
        worker: the worker.
        row: its new tokens and its view.
        complete: whether all pending tokens are fed, so that a token is chosen.
    """

    worker: Worker
    row: Row
    complete: bool


class Session:
    """One team's work on one problem.

    Args:
        id: id of the session, unique in the engine.
        spec: specification of the session.
        cache: holds the blocks of the session.
        encoder: encodes and decodes texts with the model's tokenizer.
        ranks: rank of each worker's shard; None puts all workers on shard 0.
        recorded: whether steps keep summaries of the logits, for a trace.
        forced: worker index -> its first tokens, which replace sampling.
    """

    def __init__(
        self,
        id: int,
        spec: SessionSpec,
        cache: KVCache,
        encoder: TextEncoder,
        ranks: Sequence[int] | None = None,
        *,
        recorded: bool = False,
        forced: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._encoder = encoder
        self.id = id
        self.spec = spec
        self.recorded = recorded
        self.forced = forced or {}
        self._error: HogwildError | None = None
        self.step = 0
        """Number of steps that have been applied."""
        self.changes: dict[ChangePhase, list[Change]] = {"before": [], "during": []}
        """Changes since the last recorded step, by phase."""
        self._cache = cache
        writers = (*spec.workers, *spec.finishers)
        own = [worker.view[-1] for worker in writers]
        self.blocks = SessionBlocks(cache, (*spec.shared, *own))
        self.history = History(self.blocks)
        self.workers: list[Worker] = []
        for index, worker in enumerate(writers):
            self._add_worker(worker, ranks[index] if ranks else 0)
        self.answer_collector = AnswerCollector(spec.answer_rule, self.workers[len(spec.workers) :])
        self._writer = Writer(spec, self.blocks, self.answer_collector, self._encoder)
        self._termination = Termination(spec, self.workers, self.answer_collector, self._writer)

    @property
    def end_reason(self) -> str | None:
        """Why the session ended, or None while it is running."""
        return self._termination.reason

    @property
    def failure(self) -> HogwildError | None:
        """The error that ended the session, or None."""
        return self._error if self.end_reason == FAILED else None

    @property
    def active_workers(self) -> list[Worker]:
        """Workers that take part in the next step."""
        if self.end_reason:
            return []
        side = self.answer_collector.finishers if self.answer_collector.asking else self.team
        return [worker for worker in side if worker.active]

    @property
    def team(self) -> list[Worker]:
        """All workers but the finishers."""
        return team_of(self.workers)

    def feeds(self, max_tokens: int) -> list[Feed]:
        """Return what each active worker feeds next, at most about `max_tokens` together.

        Long texts are divided over several steps. Each worker feeds at least one token.
        """
        waiting = sorted(self.active_workers, key=lambda worker: len(worker.pending))
        takes = {}
        for place, worker in enumerate(waiting):
            share = max(1, max_tokens // (len(waiting) - place))
            takes[worker.index] = min(share, len(worker.pending))
            max_tokens -= takes[worker.index]
        return [self.feed(worker, takes[worker.index]) for worker in self.active_workers]

    def feed(self, worker: Worker, max_tokens: int) -> Feed:
        """Return what one worker feeds next, at most `max_tokens` tokens."""
        ids = tuple(worker.pending[:max_tokens])
        return Feed(
            worker,
            Row(self.blocks.view(worker.spec.view), ids),
            complete=len(ids) == len(worker.pending),
        )

    def opening(self) -> list[Event]:
        """Return the events of the first texts, before step 0."""
        events: list[Event] = []
        for worker in self.team:
            events.append(self._writer.begin(worker, self.step))
        for worker in self.team:
            if worker.spec.stop_at_step == 0:
                events += self._writer.stop(worker, "step_limit", self.step)
        return events + self._termination.end_due(self.step)

    def apply_to_worker(self, feed: Feed, token: int | None) -> TokenEffect | None:
        """Apply a chosen token to its own worker; `apply` then applies it to the team.

        Args:
            feed: what the worker fed.
            token: the chosen token, or None if the worker has more text to feed first.
        """
        worker = feed.worker
        del worker.pending[: len(feed.row.token_ids)]
        effect = None
        if token is not None:
            effect = self._writer.choose(worker, token, self.step, self.history.since_check)
        if self._is_last_step(worker):
            worker.finish_reason = worker.finish_reason or "step_limit"
        return effect

    def apply(
        self,
        feeds: Sequence[Feed],
        chosen: Mapping[int, int],
        local_effects: Mapping[int, TokenEffect | None] | None = None,
    ) -> list[Event]:
        """Apply the agreed outcome of a step, worker by worker in team order.

        Args:
            feeds: what the workers fed.
            chosen: worker index -> chosen token, for the complete feeds.
            local_effects: worker index -> what `apply_to_worker` returned, where it was
                called already.
        """
        local_effects = local_effects or {}
        self.answer_collector.count_step()
        for feed in feeds:
            self._cache.commit(feed.row.view[-1], len(feed.row.token_ids))
        events: list[Event] = []
        for feed in feeds:
            worker = feed.worker
            if worker.index in local_effects:
                effect = local_effects[worker.index]
            else:
                effect = self.apply_to_worker(feed, chosen.get(worker.index))
            events += self._apply_to_team(worker, effect)
        self.step += 1
        return events + self._termination.end_due(self.step)

    def block_lengths(self, feeds: Sequence[Feed]) -> dict[str, int]:
        """Return the length of each block after `feeds`, before the events that follow."""
        lengths = self.blocks.lengths()
        for feed in feeds:
            lengths[feed.row.view[-1].name] += len(feed.row.token_ids)
        return lengths

    def most_ahead(self, worker: Worker) -> int:
        """Return the most tokens that a worker may feed in the next two steps."""
        return self._writer.most_ahead(worker)

    def start_lengths(self, worker: Worker) -> tuple[int, int]:
        """Return the lengths of a paragraph's prefix and of the redundancy question, in tokens."""
        return self._writer.start_lengths(worker)

    def fingerprint(self) -> int:
        """Return a number that is equal on all shards as long as they agree on this session."""
        lengths = tuple(self.blocks.lengths().items())
        asking = self.answer_collector.asking
        since_check = self.history.since_check
        return crc32(repr((self.id, self.step, since_check, asking, lengths)).encode())

    def cancel(self, reason: str = "cancelled") -> None:
        """End the session with the next step that is applied."""
        self._termination.cancel(reason)

    def end(self, reason: str) -> list[Event]:
        """Stop all workers and end the session; the text is kept."""
        return self._termination.end(reason, self.step)

    def fail(self, error: HogwildError) -> list[Event]:
        """End the session because of an error outside its rules; the text is kept."""
        self._error = error
        return self.end(FAILED)

    def break_off(self, error: HogwildError) -> list[Event]:
        """End the session because of an error in its rules; the text shown so far is kept."""
        self._error = error
        return self._termination.break_off(self.step)

    def fail_after_step(self, error: HogwildError) -> None:
        """End the session because of an error, with the next step that is applied."""
        self._error = error
        self.cancel(FAILED)

    def run_out(self, reason: str) -> list[Event]:
        """Stop the team; finishers, if the session has any, state the answer first."""
        return self._termination.run_out(reason, self.step)

    def join(self, spec: WorkerSpec, rank: int) -> Text:
        """Add a worker with a block of its own; return the event of its first text."""
        self.blocks.add(spec.view[-1])
        return self._writer.begin(self._add_worker(spec, rank), self.step)

    def free(self) -> None:
        """Free all blocks."""
        self.blocks.free()

    def _apply_to_team(self, worker: Worker, effect: TokenEffect | None) -> list[Event]:
        """Apply the effect of a worker's token to the team."""
        events: list[Event] = []
        if effect is not None:
            events += self.history.apply_to_team(worker, effect, self.step)
        reason = effect.stop if effect is not None else None
        if reason is None and self._is_last_step(worker):
            reason = "step_limit"
        if reason is not None:
            events += self._writer.stop(worker, reason, self.step)
        if effect is not None:
            events += self.answer_collector.apply_to_team(worker, effect, self.step)
        return events

    def _is_last_step(self, worker: Worker) -> bool:
        last = worker.spec.stop_at_step
        return last is not None and self.step + 1 >= last

    def _add_worker(self, spec: WorkerSpec, rank: int) -> Worker:
        worker = Worker(
            index=len(self.workers),
            spec=spec,
            rank=rank,
            block=self.blocks[spec.view[-1]],
            pending=list(spec.first_input),
            paragraph=spec.first_paragraph,
            decoder=self._encoder.new_decoder(),
        )
        self.workers.append(worker)
        return worker
