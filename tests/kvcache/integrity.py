"""Bookkeeping of the KV cache."""

from itertools import pairwise

from hogwild_dist.kvcache.cache import PAGE_TOKENS, KVCache


def check_integrity(cache: KVCache) -> None:
    """Check that every page has one owner and that extents and blocks have equal lengths.

    Raises:
        AssertionError: the bookkeeping is inconsistent, which only a bug can cause.
    """
    owned: list[tuple[int, int]] = []
    for block in cache.blocks:
        assert sum(extent.length for extent in block.extents) == block.length
        for index, extent in enumerate(block.extents):
            assert extent.start % PAGE_TOKENS == extent.capacity % PAGE_TOKENS == 0
            assert 0 < extent.length <= extent.capacity < extent.length + PAGE_TOKENS
            if index < len(block.extents) - 1:
                assert extent.length == extent.capacity, "a gap inside a block"
            owned.append((extent.start, extent.start + extent.capacity))
    owned.sort()
    for (_, stop), (start, _) in pairwise(owned):
        assert stop <= start, "two blocks share a page"
    taken = sum(stop - start for start, stop in owned) // PAGE_TOKENS
    assert taken + cache.pages.num_free == cache.pages.num_pages, "a page leaked"
