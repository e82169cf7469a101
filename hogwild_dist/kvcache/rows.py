"""Rows: new tokens, the blocks that they see, and the allocation of their cache slots."""

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
        assert self.view, "a row has a view"
        assert self.token_ids, "a row has at least one token"
        assert len(set(self.view)) == len(self.view), "a view holds each block once"


def release_slots(cache: KVCache, rows: Sequence[Row]) -> None:
    """Remove the rows' new tokens from their blocks again, after an unfinished forward pass."""
    for row in rows:
        own = row.view[-1]
        cache.truncate(own, own.length - len(row.token_ids))


def allocate_slots(cache: KVCache, rows: Sequence[Row]) -> list[list[int]]:
    """Append every row's tokens to its block, or none of them.

    Returns:
        The slab slots of each row's new tokens.

    Raises:
        ContextLimitError: the cache is full; the blocks are unchanged.
    """
    assert len({row.view[-1] for row in rows}) == len(rows), "each row writes a block of its own"
    before = [row.view[-1].length for row in rows]
    try:
        return [cache.extend(row.view[-1], row.token_ids) for row in rows]
    except BaseException:
        for row, length in zip(rows, before, strict=True):
            cache.truncate(row.view[-1], length)
        raise
