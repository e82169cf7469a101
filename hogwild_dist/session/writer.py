"""The effect of a chosen token on its worker: its text, its paragraph, and whether it stops."""

from collections.abc import Sequence

from hogwild_dist.kvcache.session_blocks import SessionBlocks
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.session.answer_collector import AnswerCollector
from hogwild_dist.session.events import Event, Text, WorkerStop
from hogwild_dist.session.paragraphs import ends_paragraph
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.session.worker import PendingMove, TokenEffect, Worker


class Writer:
    """Writes the workers' texts; the state is in the workers and not here.

    Args:
        spec: specification of the session.
        blocks: blocks of the session, in which finished paragraphs are sealed.
        answers: finds completed answers.
        encoder: encodes paragraph prefixes and questions.
    """

    def __init__(
        self,
        spec: SessionSpec,
        blocks: SessionBlocks,
        answers: AnswerCollector,
        encoder: TextEncoder,
    ) -> None:
        self._spec = spec
        self._blocks = blocks
        self._answers = answers
        self._encoder = encoder

    def begin(self, worker: Worker, step: int) -> Text:
        """Write a worker's first text."""
        ids = worker.spec.first_input
        text = worker.take(ids)
        worker.num_first_chars = len(worker.text)
        return _text(worker, ids, text, step, chosen=False)

    def begin_again(self, worker: Worker, step: int) -> Text:
        """Discard a worker's text and write its first text again."""
        block = self._blocks.renew(worker.block.name)
        worker.begin_again(block, self._encoder.new_decoder())
        return self.begin(worker, step)

    def choose(self, worker: Worker, token: int, step: int, since_check: int) -> TokenEffect:
        """Apply one chosen token to its worker.

        Args:
            worker: the worker that chose the token.
            token: id of the token.
            step: step in which it was chosen.
            since_check: tokens fed by the team since the redundancy question was last asked.
        """
        worker.num_chosen += 1
        if token in self._spec.end_ids:
            return self._end_of_text(worker, token, step)
        before = worker.paragraph_text
        text = worker.take((token,))
        cut = worker.cut_at(self._spec.stop_strings, text)
        answer = self._answers.answer_of(worker, len(text))
        ended = self._ends_paragraph(worker, before, text)
        reason = self._stop_reason(
            worker, step, found_stop_string=cut > 0, answered=answer is not None, ended=ended
        )
        stops = () if ended or reason else self._spec.stop_strings
        shown = _text(worker, (token,), worker.show(text, cut, stops), step, chosen=True)
        worker.pending = [token]
        move, prefix = None, None
        if ended:
            move = self._seal(worker, token, since_check, stops=reason is not None)
            prefix = self._next_paragraph(worker, move, step)
        if reason is not None:
            worker.pending.clear()
            worker.finish_reason = reason
            answer = answer or self._answers.stated(worker)
        return TokenEffect(shown, move, prefix, reason, len(worker.pending), answer)

    def stop(self, worker: Worker, reason: str, step: int) -> list[Event]:
        """Stop a worker, and show the rest of its text."""
        worker.finish_reason, worker.stopped = reason, True
        rest = "" if reason == "stop_string" else worker.flush()
        stop = WorkerStop(step=step, worker=worker.index, name=worker.spec.name, reason=reason)
        return [_text(worker, (), rest, step, chosen=True), stop] if rest else [stop]

    def most_ahead(self, worker: Worker) -> int:
        """Return the most tokens that a worker may feed in the next two steps."""
        longest_start = len(self._start_tokens(worker, worker.paragraph + 2, self._question))
        return len(worker.pending) + 1 + longest_start

    def start_lengths(self, worker: Worker) -> tuple[int, int]:
        """Return the lengths of a paragraph's prefix and of the redundancy question, in tokens."""
        if worker.spec.paragraphs_to is None:
            return 0, 0
        prefix = len(self._start_tokens(worker, worker.paragraph, ""))
        return prefix, len(self._start_tokens(worker, worker.paragraph, self._question)) - prefix

    @property
    def _question(self) -> str:
        return self._spec.redundancy.question if self._spec.redundancy is not None else ""

    def _end_of_text(self, worker: Worker, token: int, step: int) -> TokenEffect:
        """Apply the end-of-text token, which is not part of the text."""
        worker.finish_reason = "end_of_text"
        text = _text(worker, (token,), worker.show("", 0, ()), step, chosen=True)
        answer = self._answers.stated(worker)
        return TokenEffect(text, None, None, worker.finish_reason, 0, answer)

    def _ends_paragraph(self, worker: Worker, before: str, text: str) -> bool:
        if worker.spec.paragraphs_to is None:
            return False
        return ends_paragraph(before, text, worker.fences if self._spec.whole_code else None)

    def _stop_reason(
        self, worker: Worker, step: int, *, found_stop_string: bool, answered: bool, ended: bool
    ) -> str | None:
        """Return why a worker stops with its newest token: the first reason that applies."""
        if found_stop_string:
            return "stop_string"
        if answered and self._answers.stops_alone(worker):
            return "answered"
        if worker.out_of_tokens:
            return "max_tokens"
        if ended and worker.paragraph == worker.spec.stop_after_paragraph:
            return "paragraph_limit"
        return "left" if _leaves(worker, step, ended=ended) else None

    def _seal(self, worker: Worker, token: int, since_check: int, *, stops: bool) -> PendingMove:
        """End the paragraph; the worker continues in a new block."""
        name = worker.block.name
        sealed = self._blocks.seal(name)
        worker.block = self._blocks[name]
        start, asked = ([], False) if stops else self._next_start(worker, since_check)
        move = PendingMove(
            block=sealed,
            index=worker.paragraph,
            token_ids=tuple(worker.paragraph_ids),
            text=worker.paragraph_text,
            next_input=None if stops else (token, *start),
            asked=asked,
        )
        worker.begin_paragraph()
        return move

    def _next_paragraph(self, worker: Worker, move: PendingMove, step: int) -> Text | None:
        """Begin the paragraph after a sealed one, unless the worker stops."""
        if move.next_input is None:
            return None
        worker.paragraph += 1
        worker.pending = list(move.next_input)
        start = move.next_input[1:]
        text = worker.take(start)
        return _text(worker, start, text, step, chosen=False)

    def _next_start(self, worker: Worker, since_check: int) -> tuple[list[int], bool]:
        """Return the first tokens of the next paragraph, and whether they ask the question."""
        check = self._spec.redundancy
        if check is not None and check.counted == "worker":
            since_check = worker.since_check
        asked = check is not None and since_check > check.every
        question = check.question if check is not None and asked else ""
        return self._start_tokens(worker, worker.paragraph + 1, question), asked

    def _start_tokens(self, worker: Worker, index: int, question: str) -> list[int]:
        prefix = self._spec.paragraph_prefix.replace("{worker}", worker.spec.name)
        text = prefix.replace("{index}", str(index)) + question
        return list(self._encoder.go_on_typed(text))


def _leaves(worker: Worker, step: int, *, ended: bool) -> bool:
    """Return whether a worker that was asked to leave does so now."""
    if worker.leaves_from is None or step < worker.leaves_from:
        return False
    return ended or worker.spec.paragraphs_to is None


def _text(worker: Worker, ids: Sequence[int], text: str, step: int, *, chosen: bool) -> Text:
    return Text(
        step=step,
        worker=worker.index,
        name=worker.spec.name,
        token_ids=tuple(ids),
        text=text,
        chosen=chosen,
    )
