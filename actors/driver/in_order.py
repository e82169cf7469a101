"""Calls of an actor in the order in which they were made: Ray may swap those of an async actor."""

from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Holds numbered items back until none before them is missing."""

    def __init__(self) -> None:
        self._pending: dict[int, T] = {}
        self._next = 0

    def put(self, number: int, item: T) -> list[T]:
        """Take an item in.

        Args:
            number: from 0 on, each once.
            item: of that number.

        Returns:
            The items whose turn it is now, in order.
        """
        self._pending[number] = item
        ready = []
        while self._next in self._pending:
            ready.append(self._pending.pop(self._next))
            self._next += 1
        return ready
