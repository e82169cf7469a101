"""A session: the rules by which a team's text grows. Its state is the same on every shard.

A session says what to feed (`rows`) and is told what was chosen (`apply`). It never runs the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hogwild_dist.batch import Row
from hogwild_dist.cache import Block, KVCache
from hogwild_dist.errors import ContextLimitError, ModelError
from hogwild_dist.events import Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from hogwild_dist.paragraphs import ends_paragraph
from hogwild_dist.sampling import Sampler
from hogwild_dist.spec import SessionSpec, WorkerSpec
from hogwild_dist.worker import Worker


@dataclass(frozen=True, slots=True)
class Feed:
    """A worker's part of a step.

    Attributes:
        worker: who feeds.
        row: what.
        complete: whether nothing is left to feed, so that a token is chosen.
    """

    worker: Worker
    row: Row
    complete: bool


class Session:
    """One problem and its team.

    Args:
        id: unique in the engine.
        spec: what it starts from.
        cache: where its blocks live.
        tokenizer: a fast tokenizer.

    Raises:
        ModelError: the tokenizer cannot decode token by token.
    """

    def __init__(
        self, id: int, spec: SessionSpec, cache: KVCache, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                f"The tokenizer {type(tokenizer).__name__} has no fast form, which streaming text "
                "needs; convert it to a tokenizer.json first."
            )
        self.id = id
        self.spec = spec
        self.step = 0
        self.since_check = 0
        """Tokens fed by the team since the redundancy question was last asked."""
        self.history_ids: dict[str, list[int]] = {}
        """Tokens of the finished paragraphs, for each shared block they moved to."""
        self.history_text = ""
        """Text of the finished paragraphs, in the order in which they ended."""
        self.end_reason: str | None = None
        self._cache = cache
        self._tokenizer: Any = tokenizer
        self._decoder = self._tokenizer.backend_tokenizer
        own = [worker.view[-1] for worker in spec.workers]
        self.blocks: dict[str, Block] = {
            name: cache.new_block(name) for name in (*spec.shared, *own)
        }
        device = cache.keys[0].device
        self.workers = [
            self._new_worker(index, worker, device) for index, worker in enumerate(spec.workers)
        ]

    @property
    def active_workers(self) -> list[Worker]:
        """Workers that take part in the next step."""
        return [] if self.end_reason else [worker for worker in self.workers if worker.active]

    def feeds(self, max_tokens: int) -> list[Feed]:
        """What each active worker feeds next, at most about `max_tokens` in all.

        Long texts are cut; their rest waits for the next steps. Each worker gets at least a token.
        """
        waiting = sorted(self.active_workers, key=lambda worker: len(worker.pending))
        takes = {}
        for place, worker in enumerate(waiting):
            share = max(1, max_tokens // (len(waiting) - place))
            takes[worker.index] = min(share, len(worker.pending))
            max_tokens -= takes[worker.index]
        return [
            Feed(
                worker,
                Row(worker.view, tuple(worker.pending[: takes[worker.index]])),
                complete=takes[worker.index] == len(worker.pending),
            )
            for worker in self.active_workers
        ]

    def opening(self) -> list[Event]:
        """The first texts, as events before step 0."""
        events: list[Event] = []
        for worker in self.workers:
            ids = worker.spec.first_input
            text = worker.decode(self._decoder, ids)
            worker.take(ids, text)
            events.append(self._text(worker, ids, text, chosen=False))
        return events + self._scheduled_stops()

    def apply(self, feeds: Sequence[Feed], chosen: Mapping[int, int]) -> list[Event]:
        """Take in the outcome of a step, worker by worker in order.

        Args:
            feeds: what was fed.
            chosen: worker index -> token, for the complete feeds.
        """
        events: list[Event] = []
        for feed in feeds:
            worker = feed.worker
            del worker.pending[: len(feed.row.token_ids)]
            if not feed.complete or self.end_reason:
                continue
            try:
                self._choose(worker, chosen[worker.index], events)
            except ContextLimitError:
                events += self.end("cache_limit")
        self.step += 1
        return events + self._scheduled_stops() + self._ending()

    def end(self, reason: str) -> list[Event]:
        """Stop everybody; all text is kept."""
        events = [self._stop(worker, reason) for worker in self.active_workers]
        self.end_reason = reason
        return [*events, SessionEnd(step=self.step, reason=reason)]

    def free(self) -> None:
        """Give all blocks back."""
        for block in self.blocks.values():
            self._cache.free(block)
        self.blocks.clear()

    def _new_worker(self, index: int, spec: WorkerSpec, device: torch.device) -> Worker:
        return Worker(
            index=index,
            spec=spec,
            block=self.blocks[spec.view[-1]],
            view=tuple(self.blocks[name] for name in spec.view),
            sampler=Sampler(spec.sampling, device),
            pending=list(spec.first_input),
            paragraph=spec.first_paragraph,
        )

    def _choose(self, worker: Worker, token: int, events: list[Event]) -> None:
        """One chosen token: text, paragraph, stop, and what comes next; adds to `events`."""
        worker.num_chosen += 1
        if token in self.spec.end_ids:
            events.append(self._text(worker, (token,), "", chosen=True))
            events.append(self._stop(worker, "end_of_text"))
            return
        before = worker.paragraph_text
        text = worker.decode(self._decoder, (token,))
        worker.take((token,), text)
        cut = self._cut_at_stop_string(worker, text)
        shown = text[: max(0, len(text) - cut)]
        events.append(self._text(worker, (token,), shown, chosen=True))
        reason = self._stop_reason(worker, found_stop_string=cut > 0)
        ended = worker.spec.paragraphs_to is not None and ends_paragraph(before, text)
        if ended and worker.paragraph == worker.spec.stop_after_paragraph:
            reason = reason or "paragraph_limit"
        worker.pending = [token]
        if ended:
            events += self._end_paragraph(worker, token, stops=reason is not None)
        if reason is not None:
            worker.pending.clear()
            events.append(self._stop(worker, reason))
        self.since_check += len(worker.pending)

    def _end_paragraph(self, worker: Worker, token: int, *, stops: bool) -> list[Event]:
        """Move the paragraph to the history and begin the next one."""
        target = worker.spec.paragraphs_to
        assert target is not None
        moved = self._cache.append_from(self.blocks[target], worker.block)
        ids, text, index = tuple(worker.paragraph_ids), worker.paragraph_text, worker.paragraph
        self.history_ids.setdefault(target, []).extend(ids)
        self.history_text += text
        start, asked = ([], False) if stops else self._next_start(worker)
        event = ParagraphEnd(
            step=self.step,
            worker=worker.index,
            name=worker.spec.name,
            index=index,
            from_block=worker.block.name,
            to_block=target,
            moved=moved,
            token_ids=ids,
            text=text,
            next_input=None if stops else (token, *start),
            asked=asked,
        )
        worker.paragraph_ids, worker.paragraph_text = [], ""
        if stops:
            return [event]
        worker.paragraph += 1
        worker.pending = [token, *start]
        text = worker.decode(self._decoder, start)
        worker.take(start, text)
        return [event, self._text(worker, tuple(start), text, chosen=False)]

    def _next_start(self, worker: Worker) -> tuple[list[int], bool]:
        """Tokens that begin the next paragraph, and whether the redundancy question is asked."""
        prefix = self.spec.paragraph_prefix.replace("{worker}", worker.spec.name)
        start = prefix.replace("{index}", str(worker.paragraph + 1))
        check = self.spec.redundancy
        asked = check is not None and self.since_check > check.every
        if check is not None and asked:
            self.since_check = 0
            start += check.question
        return self._tokenizer.encode(start, add_special_tokens=False), asked

    def _cut_at_stop_string(self, worker: Worker, newest: str) -> int:
        """Characters cut off the end of the worker's text, because a stop string begins there."""
        longest = max(map(len, self.spec.stop_strings), default=0)
        since = max(0, len(worker.text) - len(newest) - longest + 1)
        found = [worker.text.find(stop, since) for stop in self.spec.stop_strings]
        starts = [start for start in found if start >= 0]
        if not starts:
            return 0
        cut = len(worker.text) - min(starts)
        worker.text = worker.text[: len(worker.text) - cut]
        return cut

    def _stop_reason(self, worker: Worker, *, found_stop_string: bool) -> str | None:
        if found_stop_string:
            return "stop_string"
        return "max_tokens" if worker.num_chosen == worker.spec.max_tokens else None

    def _scheduled_stops(self) -> list[Event]:
        """Workers that take no part from the coming step on."""
        return [
            self._stop(worker, "step_limit")
            for worker in self.active_workers
            if worker.spec.stop_at_step is not None and self.step >= worker.spec.stop_at_step
        ]

    def _ending(self) -> list[Event]:
        if self.end_reason:
            return []
        total = sum(worker.num_chosen for worker in self.workers)
        if self.spec.max_total_tokens is not None and total >= self.spec.max_total_tokens:
            return self.end("max_total_tokens")
        return [] if self.active_workers else self.end("all_stopped")

    def _stop(self, worker: Worker, reason: str) -> Event:
        worker.finish_reason = reason
        return WorkerStop(step=self.step, worker=worker.index, name=worker.spec.name, reason=reason)

    def _text(self, worker: Worker, ids: Sequence[int], text: str, *, chosen: bool) -> Event:
        return Text(
            step=self.step,
            worker=worker.index,
            name=worker.spec.name,
            token_ids=tuple(ids),
            text=text,
            chosen=chosen,
        )
