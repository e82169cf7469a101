"""One worker of a running session: its block, its text, what it feeds next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers.decoders import DecodeStream

from hogwild_dist.kvcache.cache import Block
from hogwild_dist.model.sampling import Sampler
from hogwild_dist.session.events import Text
from hogwild_dist.session.spec import WorkerSpec
from hogwild_dist.session.stop_strings import find_stop, num_held


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A paragraph that has ended and waits to move to the history.

    Attributes:
        block: holds it; nobody writes there any more.
        index: number of the paragraph.
        token_ids: of it, the newest included, which has no K and V there.
        text: of it.
        next_input: what the worker feeds next, or None if it stops.
        asked: whether the redundancy question is in `next_input`.
    """

    block: Block
    index: int
    token_ids: tuple[int, ...]
    text: str
    next_input: tuple[int, ...] | None
    asked: bool


@dataclass(frozen=True, slots=True)
class TokenEffect:
    """What one chosen token did to its worker, for the team to take in.

    Attributes:
        text: the token.
        move: the paragraph that it ended.
        prefix: what begins the next one.
        stop: why the worker stopped.
        num_next: tokens that it feeds next.
        answer: that the token completes.
    """

    text: Text
    move: PendingMove | None
    prefix: Text | None
    stop: str | None
    num_next: int
    answer: str | None = None


@dataclass(slots=True, eq=False)
class Worker:
    """State of one worker; `session.Session` changes it.

    Attributes:
        index: place in the team.
        spec: what it started from.
        rank: of the shard that computes it.
        block: the block it writes.
        sampler: chooses its tokens.
        decoder: turns its tokens into text, one by one.
        pending: tokens to feed next.
        paragraph_ids: tokens of the paragraph that it is writing.
        paragraph_text: their text.
        paragraph: number of that paragraph.
        token_ids: all its tokens: first text, prefixes, questions and chosen ones.
        text: their text, cut before a stop string.
        held: end of the text that is not shown yet, since a stop string may begin there.
        num_chosen: tokens that it chose.
        since_check: tokens that it fed since it was last asked the redundancy question.
        finish_reason: why it stopped, or None while it goes on.
        finisher: whether it writes only when it is asked to state an answer.
        leaves_from: step from which it leaves at its paragraph's end, or None.
        num_first_chars: of the text that it did not choose, at the beginning.
        begun_at: tokens that it had chosen when its text began; a finisher begins again.
    """

    index: int
    spec: WorkerSpec
    rank: int
    block: Block
    sampler: Sampler
    pending: list[int]
    paragraph: int
    decoder: DecodeStream = field(default_factory=lambda: DecodeStream(skip_special_tokens=False))
    paragraph_ids: list[int] = field(default_factory=list)
    paragraph_text: str = ""
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

    @property
    def active(self) -> bool:
        """Whether it takes part in the next step."""
        return self.finish_reason is None

    @property
    def out_of_tokens(self) -> bool:
        """Whether it has chosen as many tokens as it may."""
        limit = self.spec.max_tokens
        return limit is not None and self.num_chosen - self.begun_at >= limit

    def begin_again(self, block: Block) -> None:
        """Forget its text and write from the beginning, into an empty block."""
        self.block, self.pending = block, list(self.spec.first_input)
        self.decoder = DecodeStream(skip_special_tokens=False)
        self.paragraph_ids, self.paragraph_text = [], ""
        self.token_ids, self.text, self.held = [], "", ""
        self.finish_reason, self.begun_at = None, self.num_chosen

    def decode(self, tokenizer: Any, token_ids: list[int] | tuple[int, ...]) -> str:
        """Text that these next tokens add; a character may wait for its last token.

        Args:
            tokenizer: the backend of a fast tokenizer.
            token_ids: the worker's next tokens.
        """
        return "".join(self._decode_one(tokenizer, token) for token in token_ids)

    def _decode_one(self, tokenizer: Any, token_id: int) -> str:
        try:
            return self.decoder.step(tokenizer, token_id) or ""
        except Exception as error:
            # The library raises no class of its own. Bytes that are no character may do this.
            if "Invalid prefix" not in str(error):
                raise
            self.decoder = DecodeStream(skip_special_tokens=False)
            return self.decoder.step(tokenizer, token_id) or ""

    def take(self, token_ids: list[int] | tuple[int, ...], text: str) -> None:
        """Add tokens to the current paragraph and the whole text."""
        self.paragraph_ids.extend(token_ids)
        self.paragraph_text += text
        self.token_ids.extend(token_ids)
        self.text += text

    def cut_at(self, stop_strings: Sequence[str], newest: str) -> int:
        """Cut the text where a stop string begins that the newest text completed.

        Returns:
            Characters cut off.
        """
        start = find_stop(self.text, stop_strings, len(newest))
        cut = 0 if start is None else len(self.text) - start
        self.text = self.text[: len(self.text) - cut]
        self.paragraph_text = self.paragraph_text[: max(0, len(self.paragraph_text) - cut)]
        return cut

    def show(self, newest: str, cut: int, stop_strings: Sequence[str]) -> str:
        """What of the text can be shown now: all but what a stop string took or may take.

        Args:
            newest: text that the newest token added.
            cut: characters of it, and of what was held, that a stop string took.
            stop_strings: may go on with the next token.
        """
        waiting = self.held + newest
        waiting = waiting[: max(0, len(waiting) - cut)]
        hold = num_held(waiting, stop_strings)
        self.held = waiting[len(waiting) - hold :]
        return waiting[: len(waiting) - hold]

    def flush(self, tokenizer: Any) -> str:
        """All text that was not shown yet, the first bytes of an incomplete character included."""
        whole = tokenizer.decode(self.token_ids, skip_special_tokens=False)
        rest = whole[len(self.text) :] if whole.startswith(self.text) else ""
        self.text += rest
        self.paragraph_text += rest
        shown, self.held = self.held + rest, ""
        return shown


def team_of(workers: Iterable[Worker]) -> list[Worker]:
    """All but the finishers."""
    return [worker for worker in workers if not worker.finisher]
