"""The state of one worker: its block, its text, and the tokens that it feeds next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hogwild_dist.kvcache.cache import Block
from hogwild_dist.model.text_decoder import TextDecoder
from hogwild_dist.session.answer_readers import AnswerReader
from hogwild_dist.session.events import Text
from hogwild_dist.session.fences import FenceReader
from hogwild_dist.session.spec import WorkerSpec
from hogwild_dist.session.stop_strings import find_stop, num_held


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A finished paragraph that is about to move to the history.

    Attributes:
        block: sealed block that holds the paragraph.
        index: number of the paragraph.
        token_ids: tokens of the paragraph, including the newest, which has no K and V there.
        text: text of the paragraph.
        next_input: tokens that the worker feeds next, or None if it stops.
        asked: whether `next_input` contains the redundancy question.
    """

    block: Block
    index: int
    token_ids: tuple[int, ...]
    text: str
    next_input: tuple[int, ...] | None
    asked: bool


@dataclass(frozen=True, slots=True)
class TokenEffect:
    """The effect of one chosen token on its worker, to be applied to the team.

    Attributes:
        text: the event of the new text.
        move: the paragraph that the token ended, or None.
        prefix: the event of the next paragraph's first text, or None.
        stop: why the worker stopped, or None.
        num_next: number of tokens that the worker feeds next.
        answer: answer that the token completed, or None.
    """

    text: Text
    move: PendingMove | None
    prefix: Text | None
    stop: str | None
    num_next: int
    answer: str | None = None


@dataclass(slots=True, eq=False)
class Worker:
    """The state of one worker; the session's `Writer` changes it.

    Attributes:
        index: place in the team.
        spec: specification of the worker.
        rank: rank of the shard that computes the worker.
        block: block that it writes.
        sampler: chooses its tokens.
        pending: tokens to feed next.
        paragraph_ids: tokens of the current paragraph.
        paragraph_text: text of the current paragraph.
        paragraph: number of the current paragraph.
        fences: reads the code blocks of the current paragraph.
        answer_reader: finds answers in the current paragraph; None until one is looked for.
        decoder: turns its tokens into text, one by one.
        token_ids: all tokens of its text: first text, prefixes, questions and chosen ones.
        text: its text, cut before a stop string.
        held: end of the text that is not shown yet, because a stop string may begin there.
        num_chosen: number of tokens that it chose.
        since_check: number of tokens fed since it was last asked the redundancy question.
        finish_reason: why it stopped, or None while it is active.
        stopped: whether its stop was shown; later than `finish_reason` under `overlapped`.
        finisher: whether it writes only to state an answer.
        leaves_from: step from which on it leaves when a paragraph ends, or None.
        num_first_chars: length of the text that it did not choose, at the beginning.
        begun_at: value of `num_chosen` when its text began; a finisher begins more than once.
    """

    index: int
    spec: WorkerSpec
    rank: int
    block: Block
    pending: list[int]
    paragraph: int
    decoder: TextDecoder
    paragraph_ids: list[int] = field(default_factory=list)
    paragraph_text: str = ""
    fences: FenceReader = field(default_factory=FenceReader)
    answer_reader: AnswerReader | None = None
    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    held: str = ""
    num_chosen: int = 0
    since_check: int = 0
    finish_reason: str | None = None
    finisher: bool = False
    num_first_chars: int = 0
    begun_at: int = 0
    leaves_from: int | None = None
    stopped: bool = False

    @property
    def active(self) -> bool:
        """Whether the worker takes part in the next step."""
        return self.finish_reason is None

    @property
    def out_of_tokens(self) -> bool:
        """Whether the worker has reached its token limit."""
        limit = self.spec.max_tokens
        return limit is not None and self.num_chosen - self.begun_at >= limit

    def begin_again(self, block: Block, decoder: TextDecoder) -> None:
        """Discard the text and begin again in an empty block."""
        self.block, self.pending, self.decoder = block, list(self.spec.first_input), decoder
        self.begin_paragraph()
        self.token_ids, self.text, self.held = [], "", ""
        self.finish_reason, self.stopped, self.begun_at = None, False, self.num_chosen

    def begin_paragraph(self) -> None:
        """Begin a paragraph without text."""
        self.paragraph_ids, self.paragraph_text = [], ""
        self.fences, self.answer_reader = FenceReader(), None

    def take(self, token_ids: Sequence[int]) -> str:
        """Add tokens to the current paragraph and the whole text.

        Returns:
            The text that the tokens add.
        """
        text = self.decoder.add(token_ids)
        self.paragraph_ids.extend(token_ids)
        self.paragraph_text += text
        self.token_ids.extend(token_ids)
        self.text += text
        return text

    def cut_at(self, stop_strings: Sequence[str], newest: str) -> int:
        """Cut the text where a stop string begins that the newest text completed.

        Returns:
            Number of characters removed.
        """
        start = find_stop(self.text, stop_strings, len(newest))
        cut = 0 if start is None else len(self.text) - start
        self.text = self.text[: len(self.text) - cut]
        self.paragraph_text = self.paragraph_text[: max(0, len(self.paragraph_text) - cut)]
        return cut

    def show(self, newest: str, cut: int, stop_strings: Sequence[str]) -> str:
        """Return the text that can be shown now, without a stop string or its possible beginning.

        Args:
            newest: text that the newest token added.
            cut: number of characters that a stop string removed from the held and newest text.
            stop_strings: stop strings that the next token may complete.
        """
        waiting = self.held + newest
        waiting = waiting[: max(0, len(waiting) - cut)]
        hold = num_held(waiting, stop_strings)
        self.held = waiting[len(waiting) - hold :]
        return waiting[: len(waiting) - hold]

    def flush(self) -> str:
        """Return all text not shown yet, including the bytes of an incomplete character."""
        rest = self.decoder.rest()
        self.text += rest
        self.paragraph_text += rest
        shown, self.held = self.held + rest, ""
        return shown


def team_of(workers: Iterable[Worker]) -> list[Worker]:
    """Return all workers but the finishers."""
    return [worker for worker in workers if not worker.finisher]
