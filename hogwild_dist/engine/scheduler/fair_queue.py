"""A queue that serves tenants in turn, so that a busy one does not hold up the others."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of several tenants: in order within a tenant, one from each in turn."""

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}  # the tenant that is served next comes first

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def put(self, tenant: str, item: T) -> None:
        """Append an item; a tenant without other items is served after all others."""
        self._items.setdefault(tenant, deque()).append(item)

    @property
    def heads(self) -> list[T]:
        """The first item of each tenant, in the tenants' turn."""
        return [items[0] for items in self._items.values()]

    def serve(self, item: T) -> None:
        """Remove the first item of a tenant; this tenant is then served after all others.

        Raises:
            ValueError: the item is not the first of a tenant.
        """
        for tenant, items in self._items.items():
            if items[0] == item:
                rest = self._items.pop(tenant)
                rest.popleft()
                if rest:
                    self._items[tenant] = rest
                return
        raise ValueError("the item is not the first of a tenant")

    def remove(self, item: T) -> None:
        """Remove an item from any position.

        Raises:
            ValueError: the item is not in the queue.
        """
        for tenant, items in self._items.items():
            if item in items:
                items.remove(item)
                if not items:
                    del self._items[tenant]
                return
        raise ValueError("the item is not in the queue")
