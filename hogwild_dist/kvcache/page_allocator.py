"""Allocation of contiguous runs of pages; no tensors.

Pages are numbers from 0 to num_pages-1. A block should grow in place, so that its keys stay one
contiguous run that one kernel call reads. A new run therefore starts in the *middle* of the largest
free range: every block has free pages after it, and only a nearly full cache splits blocks.
"""

from bisect import bisect_left, insort

from hogwild_dist.errors import ContextLimitError


def ceil_div(number: int, divisor: int) -> int:
    """Return the quotient rounded up."""
    return -(-number // divisor)


class PageAllocator:
    """Free pages as a sorted list of disjoint, non-adjacent ranges ``(start, stop)``."""

    STATE = ("_free",)

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._free: list[tuple[int, int]] = [(0, num_pages)] if num_pages else []

    @property
    def num_free(self) -> int:
        """Number of free pages."""
        return sum(stop - start for start, stop in self._free)

    @property
    def taken(self) -> list[tuple[int, int]]:
        """The pages that are not free, as ranges ``(start, stop)``."""
        edges = [0, *(edge for run in list(self._free) for edge in run), self.num_pages]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, stop) for start, stop in pairs if start < stop]

    def allocate(self, count: int, after: int | None = None) -> list[tuple[int, int]]:
        """Take `count` pages, in as few runs as the free ranges allow.

        Args:
            count: number of pages, at least 1.
            after: page at which the first run begins, if it is free.

        Returns:
            Runs ``(start, stop)`` in the order in which a block uses them.

        Raises:
            ContextLimitError: fewer than `count` pages are free; no page is taken.
        """
        if count > self.num_free:
            raise ContextLimitError(
                f"The KV cache is full: {count} more pages are needed and {self.num_free} of "
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
        """Release pages ``start..stop-1``."""
        index = bisect_left(self._free, (start, stop))
        before = self._free[index - 1] if index else None
        following = self._free[index] if index < len(self._free) else None
        assert before is None or before[1] <= start, "page released twice"
        assert following is None or stop <= following[0], "page released twice"
        if following is not None and following[0] == stop:
            self._free.remove(following)
            stop = following[1]
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
        size = largest[1] - largest[0]
        begin = largest[0] + (size // 2 if size // 2 >= count and size < self.num_pages else 0)
        return self._cut(largest, begin, count)

    def _cut(self, free: tuple[int, int], begin: int, count: int) -> tuple[int, int]:
        """Take up to `count` pages from `begin` out of the free range `free`."""
        end = min(begin + count, free[1])
        self._free.remove(free)
        for rest in ((free[0], begin), (end, free[1])):
            if rest[0] < rest[1]:
                insort(self._free, rest)
        return begin, end
