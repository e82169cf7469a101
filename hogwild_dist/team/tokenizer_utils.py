"""Helpers for tokenizers."""

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from hogwild_dist.errors import ConfigError


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text without added special tokens."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def own_end_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the end-of-text tokens that the tokenizer names."""
    return () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the begin- and end-of-text tokens that the tokenizer names."""
    begin = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    return (*begin, *own_end_ids(tokenizer))


def single_tokens(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> set[int]:
    """Return the ids of texts that are one token alone, after a space, or after a newline."""
    found = set()
    for text in filter(None, texts):
        for form in (text, f" {text}", f"\n{text}"):
            ids = encode(tokenizer, form)
            if len(ids) == 1:
                found.add(ids[0])
    return found


def check_text(what: str, text: str) -> None:
    """Refuse text with lone surrogates, which come from bytes that are not UTF-8.

    Raises:
        ConfigError: the text contains one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what} contains {text[error.start : error.end]!a}, which is not a character; it must "
            "be UTF-8."
        ) from error


def num_alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of first tokens that two texts have in common."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
