"""Encoding of prompts: control tokens only where markup names them, and pieces that join."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ModelError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.model.text_decoder import TextDecoder

ANCHORS = ("\n", "a", ".", "1")
"""Texts of which one goes before a piece, so that it is encoded as the rest of a longer text."""

BRACKETS = {"<": ">", "[": "]", "{": "}", "|": "|"}


class TextEncoder:
    """Encodes prompts with the tokenizer of a model.

    Blocks of one view are encoded apart, and must read like one text: no tokenizer may put a space
    before a block, or strip its ends.

    Args:
        tokenizer: tokenizer of the model.

    Raises:
        ModelError: the tokenizer has no fast form.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                f"The tokenizer {type(tokenizer).__name__} has no fast form, which streaming text "
                "needs; convert it to a tokenizer.json first."
            )
        self._tokenizer = tokenizer
        self._backend: Any = tokenizer.backend_tokenizer
        self._special_ids = special_ids(tokenizer)
        self._control_ids = self._special_ids | bracketed_ids(tokenizer)
        self.go_on_typed = lru_cache(maxsize=256)(self._go_on_typed)
        """Typed text -> its tokens where it continues another text; the last ones are kept."""
        self._tail = "" if self._raw("a") != self._raw("a ") else "a"

    def begin(self, text: PromptText) -> list[int]:
        """Return the tokens of a text at the beginning of a sequence.

        A model without a chat template, whose markup cannot name it, gets its begin-of-text token.
        """
        ids = self._encode(text, continues=False)
        start = [] if self._tokenizer.chat_template else begin_ids(self._tokenizer)
        return ids if ids[: len(start)] == start else start + ids

    def go_on(self, text: PromptText) -> list[int]:
        """Return the tokens of a text that continues another one."""
        return self._encode(text, continues=True)

    def _go_on_typed(self, text: str) -> tuple[int, ...]:
        return tuple(self.go_on(PromptText.typed(text)))

    def new_decoder(self) -> TextDecoder:
        """Return a decoder for the tokens of a text that continues another one."""
        return TextDecoder(self._backend, self._special_ids, self._raw(ANCHORS[0]))

    def _encode(self, text: PromptText, *, continues: bool) -> list[int]:
        """Return the tokens of a text, cut wherever its typed parts form control tokens."""
        ids: list[int] = []
        waiting = [text]
        while waiting:
            piece = waiting.pop()
            cuts = self._typed_control(piece)
            if not cuts:
                ids += self._one(str(piece), continues=continues or bool(ids))
                continue
            parts, rest = [], piece
            for cut in reversed(cuts):
                rest, part = rest.cut(cut)
                parts.append(part)
            waiting += [*parts, rest]
        return ids

    def _typed_control(self, text: PromptText) -> list[int]:
        """Return where to cut a text so that no typed character is part of a control token."""
        spans = text.spans()
        if not spans:
            return []
        encoded = self._backend.encode(str(text), add_special_tokens=False)
        cuts = []
        unknown = self._tokenizer.unk_token_id
        for token, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True):
            spelt = token != unknown or str(text)[start:stop] == self._tokenizer.unk_token
            if token in self._control_ids and spelt and stop - start > 1:
                touched = (max(start, a) for a, b in spans if a < stop and start < b)
                cuts += [max(first, start + 1) for first in touched][:1]
        return cuts

    def _one(self, text: str, *, continues: bool) -> list[int]:
        """Return the tokens of a text, as the tokenizer reads it within a longer one."""
        for anchor in ANCHORS if continues else ("",):
            head = self._raw(anchor)
            tail = self._raw(anchor + self._tail)[len(head) :]
            ids = self._raw(anchor + text + self._tail)
            body = ids[len(head) : len(ids) - len(tail)]
            if head + body + tail == ids and (head or not anchor):
                return body
        return self._raw(text)

    def _raw(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that are no text, such as ends of turns.

    A token that stands for unknown characters is text, and so are tags of thoughts or tools, which
    are not special tokens. Some tokenizers name an end-of-text token as the one for unknown
    characters and never use it so.
    """
    marked = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    backend: Any = tokenizer.backend_tokenizer
    unknown = {
        getattr(backend.model, "unk_id", None),
        backend.token_to_id(getattr(backend.model, "unk_token", None) or ""),
    }
    return frozenset({*marked, *tokenizer.all_special_ids} - unknown)


def bracketed_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the added tokens within brackets, such as tags of thoughts or tools."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(token for token, entry in added if _bracketed(entry.content))


def begin_ids(tokenizer: Any) -> list[int]:
    """Return the tokens with which a text begins, none if the tokenizer says so.

    Some tokenizers add them on their own; others only name a begin-of-text token.
    """
    if tokenizer.init_kwargs.get("add_bos_token") is False or tokenizer.bos_token_id is None:
        return []
    with_special: Sequence[int] = tokenizer.encode("a", add_special_tokens=True)
    without: Sequence[int] = tokenizer.encode("a", add_special_tokens=False)
    places = range(len(with_special) - len(without) + 1)
    found = [at for at in places if with_special[at : at + len(without)] == without]
    own = list(with_special[: found[0]]) if found else []
    return own if tokenizer.bos_token_id in own else [tokenizer.bos_token_id]


def _bracketed(text: str) -> bool:
    return len(text) > 1 and text.endswith(BRACKETS.get(text[0], "\0"))
