"""A session: the rules by which a team's text grows. Its state is the same on every shard.

A session says what to feed (`feeds`) and is told what was chosen. It never runs the model. What a
choice does to its own worker (`advance`) is apart from what it does to the team (`apply`): under
`overlapped` visibility a worker goes on while the team has not heard of its newest token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from transformers import PreTrainedTokenizerBase

from hogwild_dist.batch import Row
from hogwild_dist.cache import KVCache
from hogwild_dist.changes import Change
from hogwild_dist.errors import ModelError
from hogwild_dist.events import Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from hogwild_dist.finishing import Finishing
from hogwild_dist.paragraphs import ends_paragraph
from hogwild_dist.sampling import Sampler
from hogwild_dist.session_blocks import SessionBlocks
from hogwild_dist.spec import SessionSpec, WorkerSpec
from hogwild_dist.worker import Advance, PendingMove, Worker


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
        ranks: the shard of each worker; None puts all on shard 0.
        recorded: whether steps keep summaries of the logits, for a trace.
        forced: worker index -> its first choices, which are taken over in place of sampling.

    Raises:
        ModelError: the tokenizer cannot decode token by token.
    """

    def __init__(
        self,
        id: int,
        spec: SessionSpec,
        cache: KVCache,
        tokenizer: PreTrainedTokenizerBase,
        ranks: Sequence[int] | None = None,
        *,
        recorded: bool = False,
        forced: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                f"The tokenizer {type(tokenizer).__name__} has no fast form, which streaming text "
                "needs; convert it to a tokenizer.json first."
            )
        self.id = id
        self.spec = spec
        self.recorded = recorded
        self.forced = forced or {}
        self.step = 0
        """Steps that the whole team knows of."""
        self.since_check = 0
        """Tokens fed by the team since the redundancy question was last asked."""
        self.history_ids: dict[str, list[int]] = {}
        """Tokens of the finished paragraphs, for each shared block they moved to."""
        self.history_text = ""
        """Text of the finished paragraphs, in the order in which they ended."""
        self.end_reason: str | None = None
        self.changes: list[Change] = []
        """Made since the last step that a trace has recorded."""
        self._cancelled = False
        self._cache = cache
        self._tokenizer: Any = tokenizer
        self._decoder = self._tokenizer.backend_tokenizer
        writers = (*spec.workers, *spec.finishers)
        own = [worker.view[-1] for worker in writers]
        self.blocks = SessionBlocks(cache, (*spec.shared, *own))
        self.workers: list[Worker] = []
        for index, worker in enumerate(writers):
            self._add_worker(worker, ranks[index] if ranks else 0)
        self.finishing = Finishing(spec.finish, self.workers[len(spec.workers) :])

    @property
    def active_workers(self) -> list[Worker]:
        """Workers that take part in the next step."""
        if self.end_reason:
            return []
        side = self.finishing.finishers if self.finishing.asking else self.team
        return [worker for worker in side if worker.active]

    @property
    def team(self) -> list[Worker]:
        """All but the finishers."""
        return [worker for worker in self.workers if not worker.finisher]

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
        return [self.feed(worker, takes[worker.index]) for worker in self.active_workers]

    def feed(self, worker: Worker, max_tokens: int) -> Feed:
        """What one worker feeds next, at most `max_tokens`."""
        ids = tuple(worker.pending[:max_tokens])
        return Feed(
            worker,
            Row(self.blocks.view(worker.spec.view), ids),
            complete=len(ids) == len(worker.pending),
        )

    def opening(self) -> list[Event]:
        """The first texts, as events before step 0."""
        events: list[Event] = []
        for worker in self.team:
            events.append(self._begin(worker))
        for worker in self.team:
            if worker.spec.stop_at_step == 0:
                events += self._stop(worker, "step_limit")
        return events + self._ending()

    def advance(self, feed: Feed, token: int | None) -> Advance | None:
        """What a choice does to its own worker; the team takes it in with `apply`.

        Args:
            feed: what was fed.
            token: what was chosen, or None where more text is to be fed first.
        """
        worker = feed.worker
        del worker.pending[: len(feed.row.token_ids)]
        advance = None if token is None else self._choose(worker, token)
        last = worker.spec.stop_at_step
        if last is not None and self.step + 1 >= last:
            worker.finish_reason = worker.finish_reason or "step_limit"
        return advance

    def apply(
        self,
        feeds: Sequence[Feed],
        chosen: Mapping[int, int],
        early: Mapping[int, Advance | None] | None = None,
    ) -> list[Event]:
        """Take in the outcome of a step that all shards agree on, worker by worker in order.

        Args:
            feeds: what was fed.
            chosen: worker index -> token, for the complete feeds.
            early: worker index -> what `advance` gave, where it has been called already.
        """
        early = early or {}
        self.finishing.count_step()
        for feed in feeds:
            self._cache.commit(feed.row.view[-1], len(feed.row.token_ids))
        events: list[Event] = []
        for feed in feeds:
            worker = feed.worker
            if worker.index in early:
                advance = early[worker.index]
            else:
                advance = self.advance(feed, chosen.get(worker.index))
            self._take_in(worker, advance, events)
        self.step += 1
        return events + self._ending()

    def block_lengths(self, feeds: Sequence[Feed]) -> dict[str, int]:
        """Tokens of each block after the agreed forward of `feeds`, before what follows."""
        lengths = self.blocks.lengths()
        for feed in feeds:
            lengths[feed.row.view[-1].name] += len(feed.row.token_ids)
        return lengths

    def longest_view_ahead(self) -> int:
        """Most tokens that a view may hold after two more steps."""
        ahead = {worker.block.name: self._most_ahead(worker) for worker in self.active_workers}
        lengths = self.blocks.lengths()
        views = [
            sum(lengths[name] + ahead.get(name, 0) for name in worker.spec.view)
            for worker in self.active_workers
        ]
        room = self.finishing.longest_views(lengths)
        return max((*views, *(length + sum(ahead.values()) for length in room)), default=0)

    def pages_ahead(self, page_tokens: int) -> int:
        """Most pages that two more steps may take."""
        ahead = sum(self._most_ahead(worker) // page_tokens + 2 for worker in self.active_workers)
        return ahead + self.finishing.pages(page_tokens)

    def _most_ahead(self, worker: Worker) -> int:
        """Most tokens that a worker feeds in the coming step and the next."""
        question = self.spec.redundancy.question if self.spec.redundancy is not None else ""
        longest_start = len(self._start_tokens(worker, worker.paragraph + 2, question))
        return len(worker.pending) + 1 + longest_start

    def fingerprint(self) -> int:
        """A number that all shards share as long as they agree about this session."""
        lengths = tuple(self.blocks.lengths().items())
        asking = self.finishing.asking
        return crc32(repr((self.id, self.step, self.since_check, asking, lengths)).encode())

    def cancel(self) -> None:
        """Let the session end with the next step that is applied."""
        self._cancelled = True

    def end(self, reason: str) -> list[Event]:
        """Stop everybody; all text is kept."""
        events = self._stop_all(reason)
        self.end_reason = reason
        return [*events, SessionEnd(step=self.step, reason=reason)]

    def run_out(self, reason: str) -> list[Event]:
        """Stop the team for good; the finishers, if there are any, state the answer first."""
        if self.finishing.asking:
            return self.end(reason)
        events = self._stop_all(reason)
        self.finishing.closing = reason
        return events + (self._ask(None) or self.end(reason))

    def join(self, spec: WorkerSpec, rank: int) -> Text:
        """Take a worker in, with a block of its own; returns its first text."""
        self.blocks.add(spec.view[-1])
        return self._begin(self._add_worker(spec, rank))

    def free(self) -> None:
        """Give all blocks back."""
        self.blocks.free()

    def _choose(self, worker: Worker, token: int) -> Advance:
        """One chosen token: text, paragraph, stop, and what comes next."""
        worker.num_chosen += 1
        if token in self.spec.end_ids:
            return self._stopped(worker, token)
        before = worker.paragraph_text
        text = worker.decode(self._decoder, (token,))
        worker.take((token,), text)
        cut = worker.cut_at(self.spec.stop_strings, text)
        answer = self.finishing.answer_of(worker, len(text))
        reason = self._stop_reason(worker, found_stop_string=cut > 0, answered=answer is not None)
        ended = worker.spec.paragraphs_to is not None and ends_paragraph(
            before, text, whole_code=self.spec.whole_code
        )
        if ended and worker.paragraph == worker.spec.stop_after_paragraph:
            reason = reason or "paragraph_limit"
        if self._leaves(worker, ended=ended):
            reason = reason or "left"
        stops = () if ended or reason else self.spec.stop_strings
        shown = self._text(worker, (token,), worker.show(text, cut, stops), chosen=True)
        worker.pending = [token]
        move, prefix = None, None
        if ended:
            move, prefix = self._end_paragraph(worker, token, stops=reason is not None)
        if reason is not None:
            worker.pending.clear()
            worker.finish_reason = reason
        return Advance(shown, move, prefix, reason, len(worker.pending), answer)

    def _stopped(self, worker: Worker, token: int) -> Advance:
        """The end-of-text token, which is not part of the text."""
        worker.finish_reason = "end_of_text"
        text = self._text(worker, (token,), worker.show("", 0, ()), chosen=True)
        return Advance(text, None, None, worker.finish_reason, 0)

    def _end_paragraph(
        self, worker: Worker, token: int, *, stops: bool
    ) -> tuple[PendingMove, Text | None]:
        """Seal the paragraph and begin the next one in a fresh block."""
        name = worker.block.name
        sealed = self.blocks.seal(name)
        worker.block = self.blocks[name]
        start, asked = ([], False) if stops else self._next_start(worker)
        move = PendingMove(
            block=sealed,
            index=worker.paragraph,
            token_ids=tuple(worker.paragraph_ids),
            text=worker.paragraph_text,
            next_input=None if stops else (token, *start),
            asked=asked,
        )
        worker.paragraph_ids, worker.paragraph_text = [], ""
        if stops:
            return move, None
        worker.paragraph += 1
        worker.pending = [token, *start]
        text = worker.decode(self._decoder, start)
        worker.take(start, text)
        return move, self._text(worker, tuple(start), text, chosen=False)

    def _take_in(self, worker: Worker, advance: Advance | None, events: list[Event]) -> None:
        """What a worker's choice does to the team; adds to `events`."""
        if advance is not None:
            events.append(advance.text)
            if advance.move is not None:
                events.append(self._move(worker, advance.move))
            if advance.prefix is not None:
                events.append(advance.prefix)
            self.since_check += advance.num_next
            worker.since_check += advance.num_next
        reason = advance.stop if advance is not None else None
        last = worker.spec.stop_at_step
        if reason is None and last is not None and self.step + 1 >= last:
            reason = "step_limit"
        if reason is not None:
            events += self._stop(worker, reason)
        if advance is not None:
            events += self.finishing.take_in(worker, advance, self.step)

    def _move(self, worker: Worker, move: PendingMove) -> ParagraphEnd:
        """Append a sealed paragraph to the history."""
        target = worker.spec.paragraphs_to
        assert target is not None
        moved = self.blocks.move(move.block.name, target)
        self.history_ids.setdefault(target, []).extend(move.token_ids)
        self.history_text += move.text
        if move.asked:
            self.since_check = 0
            worker.since_check = 0
        return ParagraphEnd(
            step=self.step,
            worker=worker.index,
            name=worker.spec.name,
            index=move.index,
            from_block=move.block.name,
            to_block=target,
            moved=moved,
            token_ids=move.token_ids,
            text=move.text,
            next_input=move.next_input,
            asked=move.asked,
        )

    def _next_start(self, worker: Worker) -> tuple[list[int], bool]:
        """Tokens that begin the next paragraph, and whether the redundancy question is asked."""
        check = self.spec.redundancy
        since = self.since_check
        if check is not None and check.counted == "worker":
            since = worker.since_check
        asked = check is not None and since > check.every
        question = check.question if check is not None and asked else ""
        return self._start_tokens(worker, worker.paragraph + 1, question), asked

    def _start_tokens(self, worker: Worker, index: int, question: str) -> list[int]:
        prefix = self.spec.paragraph_prefix.replace("{worker}", worker.spec.name)
        text = prefix.replace("{index}", str(index)) + question
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _leaves(self, worker: Worker, *, ended: bool) -> bool:
        """Whether a worker that was asked to leave does so now."""
        if worker.leaves_from is None or self.step < worker.leaves_from:
            return False
        return ended or worker.spec.paragraphs_to is None

    def _stop_reason(
        self, worker: Worker, *, found_stop_string: bool, answered: bool
    ) -> str | None:
        if found_stop_string:
            return "stop_string"
        if answered and self.finishing.stops_alone(worker):
            return "answered"
        return "max_tokens" if worker.out_of_tokens else None

    def _ending(self) -> list[Event]:
        if self.end_reason:
            return []
        if self._cancelled:
            return self.end("cancelled")
        if self.finishing.asking:
            return [] if self.active_workers else self._answered()
        if self.finishing.announced:
            return self.end("answered")
        return self._running_out()

    def _running_out(self) -> list[Event]:
        """The end of the team's steps or tokens, or a budget."""
        total = sum(worker.num_chosen for worker in self.team)
        if self.spec.max_total_tokens is not None and total >= self.spec.max_total_tokens:
            return self.run_out("max_total_tokens")
        awaited = [self.workers[index] for index in self.spec.until] or self.team
        if not any(worker.active for worker in awaited):
            return self.run_out("all_stopped")
        budget = self.finishing.due_budget()
        return [] if budget is None else self._ask(budget)

    def _ask(self, budget: int | None) -> list[Event]:
        """Let the finishers write; the team waits. Empty where nobody needs to be asked."""
        events: list[Event] = []
        for worker in self.finishing.ask(budget):
            worker.begin_again(self.blocks.renew(worker.block.name))
            events.append(self._begin(worker))
        return events

    def _answered(self) -> list[Event]:
        """The finishers are done: the team goes on, or the session ends."""
        closing = self.finishing.stop_asking()
        return [] if closing is None else self.end(closing)

    def _add_worker(self, spec: WorkerSpec, rank: int) -> Worker:
        worker = Worker(
            index=len(self.workers),
            spec=spec,
            rank=rank,
            block=self.blocks[spec.view[-1]],
            sampler=Sampler(spec.sampling, self._cache.keys[0].device),
            pending=list(spec.first_input),
            paragraph=spec.first_paragraph,
        )
        self.workers.append(worker)
        return worker

    def _begin(self, worker: Worker) -> Text:
        """A worker's first text."""
        ids = worker.spec.first_input
        text = worker.decode(self._decoder, ids)
        worker.take(ids, text)
        return self._text(worker, ids, text, chosen=False)

    def _stop_all(self, reason: str) -> list[Event]:
        going_on = [worker for worker in self.workers if worker.active]
        return [event for worker in going_on for event in self._stop(worker, reason)]

    def _stop(self, worker: Worker, reason: str) -> list[Event]:
        """The worker's stop, after what of its text was not shown yet."""
        worker.finish_reason = reason
        rest = "" if reason == "stop_string" else worker.flush(self._decoder)
        stop = WorkerStop(step=self.step, worker=worker.index, name=worker.spec.name, reason=reason)
        return [self._text(worker, (), rest, chosen=True), stop] if rest else [stop]

    def _text(self, worker: Worker, ids: Sequence[int], text: str, *, chosen: bool) -> Text:
        return Text(
            step=self.step,
            worker=worker.index,
            name=worker.spec.name,
            token_ids=tuple(ids),
            text=text,
            chosen=chosen,
        )
