"""Rows: new tokens and the blocks that they see, and their slots in the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from hogwild_dist.kvcache.cache import Block, KVCache


@dataclass(frozen=True, slots=True)
class Row:
    """New tokens at the end of a block: what a worker feeds in a step, or a text to encode.

    Attributes:
        view: the blocks that the tokens attend to, in order; the tokens are appended to the last.
        token_ids: the new tokens, at least one.
    """

    view: tuple[Block, ...]
    token_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.view, "a row needs a view"
        assert self.token_ids, "a row needs a token"
        assert len(set(self.view)) == len(self.view), "a block stands twice in a view"


def release_slots(cache: KVCache, rows: Sequence[Row]) -> None:
    """Take the rows' new tokens back out of their blocks, after a forward that did not finish."""
    for row in rows:
        own = row.view[-1]
        cache.truncate(own, own.length - len(row.token_ids))


def allocate_slots(cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
    """Extend every row's block, or none.

    Returns:
        For each row the slab slots of its new tokens.

    Raises:
        ContextLimitError: the cache is full; the blocks are as before.
    """
    assert len({row.view[-1] for row in rows}) == len(rows), "two rows write one block"
    before = [row.view[-1].length for row in rows]
    try:
        return [cache.extend(row.view[-1], row.token_ids) for row in rows]
    except BaseException:
        for row, length in zip(rows, before, strict=True):
            cache.truncate(row.view[-1], length)
        raise
