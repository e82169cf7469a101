"""A queue that serves its tenants in turn: one with much to do does not hold up the others."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of several tenants: in order within a tenant, one from each in turn."""

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}  # who is served next comes first

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def put(self, tenant: str, item: T) -> None:
        """Append an item; a tenant who had none is served after all others."""
        self._items.setdefault(tenant, deque()).append(item)

    @property
    def head(self) -> T:
        """The item that is served next.

        Raises:
            IndexError: the queue is empty.
        """
        if not self._items:
            raise IndexError("the queue is empty")
        return next(iter(self._items.values()))[0]

    def pop(self) -> T:
        """Take the head out; its tenant's next item waits for all other tenants.

        Raises:
            IndexError: the queue is empty.
        """
        item = self.head
        tenant = next(iter(self._items))
        rest = self._items.pop(tenant)
        rest.popleft()
        if rest:
            self._items[tenant] = rest
        return item

    def remove(self, item: T) -> None:
        """Take an item out, wherever it stands.

        Raises:
            ValueError: it does not stand in the queue.
        """
        for tenant, items in self._items.items():
            if item in items:
                items.remove(item)
                if not items:
                    del self._items[tenant]
                return
        raise ValueError("the item does not stand in the queue")
