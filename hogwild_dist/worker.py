"""One worker of a running session: its block, its text, what it feeds next."""

from dataclasses import dataclass, field
from typing import Any

from tokenizers.decoders import DecodeStream

from hogwild_dist.cache import Block
from hogwild_dist.sampling import Sampler
from hogwild_dist.spec import WorkerSpec


@dataclass(slots=True, eq=False)
class Worker:
    """State of one worker; `session.Session` changes it.

    Attributes:
        index: place in the team.
        spec: what it started from.
        block: the block it writes.
        view: the blocks it attends to, its own last.
        sampler: chooses its tokens.
        decoder: turns its tokens into text, one by one.
        pending: tokens to feed next.
        paragraph_ids: tokens of the paragraph that it is writing.
        paragraph_text: their text.
        paragraph: number of that paragraph.
        token_ids: all its tokens: first text, prefixes, questions and chosen ones.
        text: their text, cut before a stop string.
        num_chosen: tokens that it chose.
        finish_reason: why it stopped, or None while it goes on.
    """

    index: int
    spec: WorkerSpec
    block: Block
    view: tuple[Block, ...]
    sampler: Sampler
    pending: list[int]
    paragraph: int
    decoder: DecodeStream = field(default_factory=lambda: DecodeStream(skip_special_tokens=False))
    paragraph_ids: list[int] = field(default_factory=list)
    paragraph_text: str = ""
    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    num_chosen: int = 0
    finish_reason: str | None = None

    @property
    def active(self) -> bool:
        """Whether it takes part in the next step."""
        return self.finish_reason is None

    def decode(self, tokenizer: Any, token_ids: list[int] | tuple[int, ...]) -> str:
        """Text that these next tokens add; a character may wait for its last token.

        Args:
            tokenizer: the backend of a fast tokenizer.
            token_ids: the worker's next tokens.
        """
        return "".join(self.decoder.step(tokenizer, token) or "" for token in token_ids)

    def take(self, token_ids: list[int] | tuple[int, ...], text: str) -> None:
        """Add tokens to the current paragraph and the whole text."""
        self.paragraph_ids.extend(token_ids)
        self.paragraph_text += text
        self.token_ids.extend(token_ids)
        self.text += text
