"""Ordering of numbered items, since Ray may reorder the calls of an async actor."""

from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Buffer that releases numbered items in order, without gaps."""

    def __init__(self) -> None:
        self._pending: dict[int, T] = {}
        self._next = 0

    def put(self, number: int, item: T) -> list[T]:
        """Add an item, and return the items it releases.

        Args:
            number: the item's number; each number from 0 on is used once.
            item: the item.

        Returns:
            The items that are next in order; empty while an earlier one is missing.
        """
        self._pending[number] = item
        ready = []
        while self._next in self._pending:
            ready.append(self._pending.pop(self._next))
            self._next += 1
        return ready
