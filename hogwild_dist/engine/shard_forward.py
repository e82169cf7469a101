"""One shard's part of a step: cache slots, forward pass, sampling, and the report to its peers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from hogwild_dist.attention.batch import Batch
from hogwild_dist.config import Visibility
from hogwild_dist.engine.rounds import Rounds
from hogwild_dist.engine.scheduler.step import InFlightStep, RowOutcome
from hogwild_dist.exchange.base import AgreedStep, LogitsSummary, RowReport, StepReport
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import allocate_slots, release_slots
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.sampler import Sampled, SamplingRow
from hogwild_dist.model.sampling import summarize, uniform
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.timeline import Timeline


class ShardForward:
    """Computes the rows of this shard and reports the chosen tokens to the other shards.

    Args:
        runner: runs the model's forward pass.
        rounds: completes the rounds of this shard, with its exchange.
        cache: holds the keys and values of all sessions.
        timeline: records the spans of every step.
    """

    def __init__(
        self,
        runner: ModelRunner,
        rounds: Rounds,
        cache: KVCache,
        timeline: Timeline,
    ) -> None:
        self._runner = runner
        self._exchange = rounds.exchange
        self._rounds = rounds
        self._cache = cache
        self._timeline = timeline

    @contextmanager
    def allocated(self, step: InFlightStep) -> Iterator[None]:
        """Allocate cache slots for everything that the step feeds; an error releases them again.

        Raises:
            ContextLimitError: the cache is full; the blocks are unchanged.
        """
        rows = step.input_rows
        for row, slots in zip(rows, allocate_slots(self._cache, rows), strict=True):
            step.slots[row.view[-1]] = slots
        try:
            yield
        except BaseException:
            release_slots(self._cache, rows)
            raise

    def compute(self, step: InFlightStep) -> None:
        """Run the forward pass over this shard's rows and choose their tokens.

        The results are stored in `step.outcomes`.
        """
        order = [(session, feed) for session, feeds in step.feeds.items() for feed in feeds]
        own = [pair for pair in order if pair[1].worker.rank == self._exchange.rank]
        if not own:
            self._relay_layers()
            return
        rows = [feed.row for _, feed in own]
        with self._timeline.span("compute"):
            logits, batch = self._runner.compute(
                rows,
                [step.slots[row.view[-1]] for row in rows],
                arriving=[feed.row for _, feed in order if feed.worker.rank != self._exchange.rank],
            )
        with self._timeline.span("sampling"):
            step.outcomes = self._choose(own, logits, batch)

    @torch.inference_mode()
    def _choose(
        self, own: Sequence[tuple[Session, Feed]], logits: Tensor, batch: Batch
    ) -> tuple[RowOutcome, ...]:
        """Choose each row's token: a forced one if the session has it, else a sampled one."""
        forced = [_forced(session, feed) for session, feed in own]
        asked = [
            SamplingRow(
                config=feed.worker.spec.sampling,
                seen_ids=partial(batch.seen_ids, row),
                number=(
                    uniform(session.spec.seed, feed.worker.index, feed.worker.num_chosen)
                    if feed.complete and forced[row] is None
                    else None
                ),
            )
            for row, (session, feed) in enumerate(own)
        ]
        sampled = self._runner.sample(logits, asked)
        return tuple(
            RowOutcome(
                session=session,
                worker=feed.worker.index,
                input_ids=feed.row.token_ids,
                logits=logits[row],
                allowed=sampled.allowed[row],
                token_id=_choice(sampled, row, forced[row]),
                failed=not sampled.usable[row],
            )
            for row, (session, feed) in enumerate(own)
        )

    def compute_all(self, step: InFlightStep) -> None:
        """Run the forward pass over the rows of all shards, whose tokens are chosen already."""
        rows = step.input_rows
        if rows:
            slots = [step.slots[row.view[-1]] for row in rows]
            self._runner.compute(rows, slots, alone=True)
        step.outcomes = ()

    def post(self, step: InFlightStep, command: int) -> None:
        """Send the chosen tokens of this shard's rows to the other shards.

        Args:
            step: a computed step that the exchange has begun.
            command: the highest command id up to which this shard holds every command.
        """
        reports = tuple(
            RowReport(
                session=outcome.session.id,
                worker=outcome.worker,
                token_id=outcome.token_id,
                summary=_summary(outcome),
                failed=outcome.failed,
            )
            for outcome in step.outcomes
        )
        state = crc32(repr([session.fingerprint() for session in step.feeds]).encode())
        self._exchange.post(StepReport(self._rounds.next_number, command, state, reports))

    def agree(self, command: int) -> int:
        """Exchange headers alone, without feeding any token.

        Args:
            command: the highest command id up to which this shard holds every command.

        Returns:
            The highest command id up to which every shard holds every command.
        """
        nothing = InFlightStep({})

        def together() -> AgreedStep:
            self._exchange.begin(nothing.plan(self._exchange.world_size))
            self.post(nothing, command)
            return self._exchange.collect()

        agreed = self._rounds.complete(together, lambda: None)
        assert agreed is not None, "headers have an outcome"
        return agreed.command

    def _relay_layers(self) -> None:
        """Receive the peers' layers on a shard that has no row to compute."""
        if self._exchange.visibility is Visibility.SAME_STEP:
            for layer in range(len(self._cache.keys)):
                self._exchange.send_layer(layer)
                self._exchange.receive_layer(layer)


def _choice(sampled: Sampled, row: int, forced: int | None) -> int | None:
    """Return the token of a row: none if its logits are not numbers, else a forced one first."""
    if not sampled.usable[row] or forced is None:
        return sampled.tokens[row]
    return forced


def _summary(outcome: RowOutcome) -> LogitsSummary | None:
    """Return the summary of a row's logits, if the session is recorded and they are numbers."""
    if outcome.failed or not outcome.session.recorded:
        return None
    return summarize(outcome.logits, outcome.allowed)


def _forced(session: Session, feed: Feed) -> int | None:
    """Return the token that replaces sampling, or None."""
    forced = session.forced.get(feed.worker.index, ())
    at = feed.worker.num_chosen
    return forced[at] if feed.complete and at < len(forced) else None
