"""Prompt prefixes that sessions share: each is computed once, for all that begin with it."""

from collections.abc import Collection
from dataclasses import dataclass

from hogwild_dist.kvcache.cache import Block, KVCache


@dataclass(slots=True)
class _Prefix:
    """A block and how many sessions see it now."""

    block: Block
    readers: int = 0


class PrefixCache:
    """Blocks by their tokens. One that nobody reads stays until its pages are wanted.

    Nothing is ever appended to such a block: what a session adds stands in a block of its own
    behind it.

    Args:
        cache: where they live.
    """

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._known: dict[tuple[int, ...], _Prefix] = {}  # the least recently wanted comes first

    @property
    def num_pages(self) -> int:
        """Pages that all of them take."""
        return sum(self._cache.pages_of(len(ids)) for ids in self._known)

    @property
    def num_idle_pages(self) -> int:
        """Pages of those that nobody reads."""
        return sum(self._cache.pages_of(len(ids)) for ids in self._idle())

    @property
    def are_encoded(self) -> bool:
        """Whether all of them are encoded to their ends."""
        return all(one.block.committed == len(ids) for ids, one in self._known.items())

    def __contains__(self, token_ids: tuple[int, ...]) -> bool:
        return token_ids in self._known

    def is_read(self, token_ids: tuple[int, ...]) -> bool:
        """Whether a session reads this beginning now."""
        return token_ids in self._known and self._known[token_ids].readers > 0

    def borrow(self, token_ids: tuple[int, ...]) -> tuple[Block, bool]:
        """Read a beginning from now on.

        Returns:
            Its block, and whether that is new, so that the caller must encode it.
        """
        new = token_ids not in self._known
        one = _Prefix(self._cache.new_block("beginning")) if new else self._known.pop(token_ids)
        one.readers += 1
        self._known[token_ids] = one
        return one.block, new

    def give_back(self, token_ids: tuple[int, ...]) -> None:
        """Read a beginning no longer; one that was not encoded to its end is forgotten."""
        one = self._known[token_ids]
        one.readers -= 1
        if one.block.committed < len(token_ids):
            assert one.readers == 0, "a beginning is shared before it is encoded"
            self._forget(token_ids)

    def forget_idle(self, count: int, keep: Collection[tuple[int, ...]] = ()) -> None:
        """Give at least `count` pages back, or all of the idle beginnings.

        Args:
            count: pages wanted.
            keep: beginnings that stay.
        """
        for token_ids in self._idle():
            if count <= 0:
                return
            if token_ids not in keep:
                self._forget(token_ids)
                count -= self._cache.pages_of(len(token_ids))

    def _idle(self) -> list[tuple[int, ...]]:
        return [ids for ids, one in self._known.items() if one.readers == 0]

    def _forget(self, token_ids: tuple[int, ...]) -> None:
        self._cache.free(self._known.pop(token_ids).block)
