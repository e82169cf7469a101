"""Hands out runs of contiguous pages; pure Python, no tensors.

Pages are numbers 0..num_pages-1. A block that grows should grow in place, so that its keys stay
one contiguous run that is read in one go. So a new run starts in the *middle* of the largest free
range: every block gets room behind it, and only a store that is nearly full splits blocks.
"""

from bisect import bisect_left, insort

from hogwild_dist.errors import ContextLimitError


class PageAllocator:
    """Free pages as a sorted list of disjoint, non-adjacent ranges ``(start, stop)``."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._free: list[tuple[int, int]] = [(0, num_pages)] if num_pages else []

    @property
    def num_free(self) -> int:
        """Number of pages that are not handed out."""
        return sum(stop - start for start, stop in self._free)

    def allocate(self, count: int, after: int | None = None) -> list[tuple[int, int]]:
        """Take `count` pages, in as few runs as the free ranges allow.

        Args:
            count: pages wanted, at least 1.
            after: a page number; the first run begins there if that page is free.

        Returns:
            Runs ``(start, stop)`` in the order in which a block should use them.

        Raises:
            ContextLimitError: fewer than `count` pages are free; nothing is taken then.
        """
        if count > self.num_free:
            raise ContextLimitError(
                f"The KV cache is full: {count} more pages were asked for and {self.num_free} of "
                f"{self.num_pages} are free; raise cache_tokens (--cache-tokens) or use a shorter "
                "problem."
            )
        runs = []
        while count:
            run = self._take(count, after)
            runs.append(run)
            count -= run[1] - run[0]
            after = run[1]
        return runs

    def release(self, start: int, stop: int) -> None:
        """Give pages ``start..stop-1`` back."""
        index = bisect_left(self._free, (start, stop))
        before = self._free[index - 1] if index else None
        behind = self._free[index] if index < len(self._free) else None
        assert before is None or before[1] <= start, "page released twice"
        assert behind is None or stop <= behind[0], "page released twice"
        if behind is not None and behind[0] == stop:
            self._free.remove(behind)
            stop = behind[1]
        if before is not None and before[1] == start:
            self._free.remove(before)
            start = before[0]
        insort(self._free, (start, stop))

    def _take(self, count: int, after: int | None) -> tuple[int, int]:
        """Take one run of at most `count` pages, at `after` if that page is free."""
        for start, stop in self._free:
            if start == after:
                return self._cut((start, stop), start, count)
        largest = max(self._free, key=lambda run: run[1] - run[0])
        room = largest[1] - largest[0]
        begin = largest[0] + (room // 2 if room // 2 >= count and room < self.num_pages else 0)
        return self._cut(largest, begin, count)

    def _cut(self, free: tuple[int, int], begin: int, count: int) -> tuple[int, int]:
        """Take up to `count` pages from `begin` out of the free range `free`."""
        end = min(begin + count, free[1])
        self._free.remove(free)
        for rest in ((free[0], begin), (end, free[1])):
            if rest[0] < rest[1]:
                insort(self._free, rest)
        return begin, end
