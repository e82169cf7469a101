"""Prompt prefixes that sessions share: each is computed once, for all that begin with it."""

from collections.abc import Collection
from dataclasses import dataclass

from hogwild_dist.kvcache.cache import Block, KVCache


@dataclass(slots=True)
class _Prefix:
    """A block, and the number of sessions that read it."""

    block: Block
    readers: int = 0


class PrefixCache:
    """Shared prefixes by their tokens; an idle one stays until its pages are needed.

    A prefix never grows: the text that a session adds is in a block of its own after it.

    Args:
        cache: holds the blocks of the prefixes.
    """

    STATE = ("_known",)

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._known: dict[tuple[int, ...], _Prefix] = {}  # least recently used first

    @property
    def num_pages(self) -> int:
        """Number of pages of all prefixes."""
        return sum(self._cache.pages_of(len(ids)) for ids in self._known)

    @property
    def num_idle_pages(self) -> int:
        """Number of pages of the prefixes that no session reads."""
        return sum(self._cache.pages_of(len(ids)) for ids in self._idle())

    @property
    def are_encoded(self) -> bool:
        """Whether all prefixes are completely encoded."""
        return all(one.block.committed == len(ids) for ids, one in self._known.items())

    def __contains__(self, token_ids: tuple[int, ...]) -> bool:
        return token_ids in self._known

    def is_read(self, token_ids: tuple[int, ...]) -> bool:
        """Return whether a session reads this prefix."""
        return token_ids in self._known and self._known[token_ids].readers > 0

    def borrow(self, token_ids: tuple[int, ...]) -> tuple[Block, bool]:
        """Add a reader to a prefix, which is created if it is unknown.

        Returns:
            The block of the prefix, and whether it is new and the caller must encode it.
        """
        new = token_ids not in self._known
        one = _Prefix(self._cache.new_block("prefix")) if new else self._known.pop(token_ids)
        one.readers += 1
        self._known[token_ids] = one
        return one.block, new

    def give_back(self, token_ids: tuple[int, ...]) -> None:
        """Remove a reader from a prefix; an incompletely encoded prefix is removed too."""
        one = self._known[token_ids]
        one.readers -= 1
        if one.block.committed < len(token_ids):
            assert one.readers == 0, "a prefix is shared only once it is encoded"
            self._forget(token_ids)

    def forget_idle(self, count: int, keep: Collection[tuple[int, ...]] = ()) -> None:
        """Remove idle prefixes until at least `count` pages are released, or none is left.

        Args:
            count: number of pages needed.
            keep: prefixes that stay.
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
