"""The engine: one model, one cache, any number of sessions, one forward a step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import EngineConfig
from hogwild_dist.errors import ContextLimitError
from hogwild_dist.events import Event
from hogwild_dist.exchange.base import Exchange, RowReport
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.model import LoadedModel
from hogwild_dist.runner import ModelRunner
from hogwild_dist.sampling import uniform
from hogwild_dist.session import Feed, Session
from hogwild_dist.spec import SessionSpec


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What one worker fed in a step and what came of it.

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
class StepOutcome:
    """One step.

    Attributes:
        rows: in the order of the packed batch.
        block_lengths: for each session of the step, block name -> tokens after the forward and
            before the events.
        events: what the step brought about.
        seconds: how long it took.
    """

    rows: tuple[RowOutcome, ...]
    block_lengths: dict[int, dict[str, int]]
    events: tuple[Event, ...]
    seconds: float


class Engine:
    """Runs sessions on one model.

    Args:
        model: the model.
        tokenizer: its fast tokenizer.
        config: what is fixed for the engine's life.
        exchange: None for a single process.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EngineConfig | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.model = model
        self.tokenizer = tokenizer
        self.exchange = exchange or LocalExchange(self.config.visibility)
        self.cache = model.new_cache(self.config.cache_tokens)
        self.runner = ModelRunner(model, self.cache, self.exchange)
        self._num_started = 0

    def start(self, spec: SessionSpec) -> Session:
        """Encode the shared blocks of a new session.

        Raises:
            ContextLimitError: they do not fit; nothing is kept of the session.
        """
        self._check_fits(spec)
        session = Session(self._num_started, spec, self.cache, self.tokenizer)
        self._num_started += 1
        try:
            for name, ids in spec.shared.items():
                self.runner.encode_alone(session.blocks[name], ids, self.config.prefill_chunk)
        except BaseException:
            session.free()
            raise
        return session

    def step(self, sessions: Sequence[Session]) -> StepOutcome:
        """Feed every active worker of `sessions` once, choose tokens, apply what follows."""
        begin = time.perf_counter()
        feeds, events = self._admit(sessions)
        order = [(session, feed) for session, own in feeds.items() for feed in own]
        if not order:
            return StepOutcome((), {}, tuple(events), time.perf_counter() - begin)
        logits, batch = self.runner.forward([feed.row for _, feed in order])
        rows = tuple(
            self._choose(session, feed, logits[row], partial(batch.seen_ids, row))
            for row, (session, feed) in enumerate(order)
        )
        lengths = {
            session.id: {name: block.length for name, block in session.blocks.items()}
            for session in feeds
        }
        reports = [RowReport(row.session.id, row.worker, row.token_id) for row in rows]
        agreed = self.exchange.commit(reports)
        for session, own in feeds.items():
            chosen = {
                report.worker: report.token_id
                for report in agreed
                if report.session == session.id and report.token_id is not None
            }
            events += session.apply(own, chosen)
        return StepOutcome(rows, lengths, tuple(events), time.perf_counter() - begin)

    def _admit(self, sessions: Sequence[Session]) -> tuple[dict[Session, list[Feed]], list[Event]]:
        """The feeds that fit; a session that has outgrown model or cache ends."""
        feeds: dict[Session, list[Feed]] = {}
        events: list[Event] = []
        free = self.cache.pages.num_free
        budget = self.config.max_step_tokens
        for session in sessions:
            own = session.feeds(budget)
            pages = sum(
                self.cache.pages_wanted(feed.worker.block, len(feed.row.token_ids)) for feed in own
            )
            added = {feed.worker.block: len(feed.row.token_ids) for feed in own}
            longest = max(
                (
                    sum(block.length + added.get(block, 0) for block in feed.row.view)
                    for feed in own
                ),
                default=0,
            )
            if longest > self.model.max_positions:
                events += session.end("context_limit")
            elif pages > free:
                events += session.end("cache_limit")
            elif own:
                feeds[session] = own
                free -= pages
                budget = max(1, budget - sum(added.values()))
        return feeds, events

    @torch.inference_mode()
    def _choose(
        self, session: Session, feed: Feed, logits: Tensor, seen_ids: Callable[[], list[int]]
    ) -> RowOutcome:
        worker = feed.worker
        allowed = worker.sampler.allowed(logits, seen_ids)
        token = None
        if feed.complete:
            number = uniform(session.spec.seed, worker.index, worker.num_chosen)
            token = worker.sampler.choose(allowed, number)
        return RowOutcome(session, worker.index, feed.row.token_ids, logits, allowed, token)

    def _check_fits(self, spec: SessionSpec) -> None:
        """Refuse a session whose first texts leave no room to write."""
        lengths = {name: len(ids) for name, ids in spec.shared.items()}
        lengths |= {worker.view[-1]: len(worker.first_input) for worker in spec.workers}
        longest = max(sum(lengths[name] for name in worker.view) for worker in spec.workers)
        for limit, what in (
            (self.model.max_positions, f"the context of {self.model.name!r}"),
            (self.config.cache_tokens, "the KV cache"),
        ):
            if longest >= limit:
                raise ContextLimitError(
                    f"Problem and prompts take {longest} tokens and {what} holds {limit}; shorten "
                    "the problem or use another model."
                )
