"""The groups of a service as an ingress sees them: which there are, and which has least to do."""

import asyncio
import random
import time

from actors.errors import ClusterError
from actors.group_info import GroupInfo, Load
from actors.remote import RemoteGroup
from deploy.service.config import ServiceConfig
from hogwild_dist.errors import HogwildError

LOOK_SECONDS = 1.0
"""A slot that is not known to have a group is looked at no more often."""


class Groups:
    """Finds groups by their slots; holds no state that another ingress would lack.

    Args:
        config: of the service.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._known: dict[int, RemoteGroup] = {}
        self._looked: dict[int, float] = {}

    async def info(self) -> GroupInfo:
        """Of any group that is ready: all of a service are alike.

        Raises:
            ClusterError: none is.
        """
        for slot in range(self._config.num_slots):
            try:
                return await self.at(slot).info()
            except HogwildError:
                self.forget(slot)
        raise ClusterError("No group of shards is ready yet; try again soon.")

    async def loads(self) -> dict[int, Load]:
        """Slot -> what its group has to do, of those that take sessions."""
        slots = list(range(self._config.num_slots))
        found = await asyncio.gather(*(self._load(slot) for slot in slots))
        return {slot: load for slot, load in zip(slots, found, strict=True) if load is not None}

    async def least_loaded(self) -> tuple[int, dict[int, Load]]:
        """A slot whose group has the least to do, and all loads.

        Raises:
            ClusterError: no group is ready.
        """
        loads = await self.loads()
        if not loads:
            raise ClusterError("No group of shards is ready yet; try again soon.")
        least = min(load.running for load in loads.values())
        return random.choice([s for s, load in loads.items() if load.running == least]), loads

    def at(self, slot: int) -> RemoteGroup:
        """The group of a slot.

        Raises:
            ClusterError: there is none.
        """
        if slot not in self._known:
            now = time.monotonic()
            if slot >= self._config.num_slots or now < self._looked.get(slot, 0.0) + LOOK_SECONDS:
                raise ClusterError(f"There is no group in slot {slot}.")
            self._looked[slot] = now
            self._known[slot] = RemoteGroup(self._config.group_name(slot))
        return self._known[slot]

    def forget(self, slot: int) -> None:
        """Look for a slot's group anew, since what was known of it does not answer."""
        self._known.pop(slot, None)

    async def _load(self, slot: int) -> Load | None:
        try:
            load = await self.at(slot).load()
        except HogwildError:
            self.forget(slot)
            return None
        return load if load.ready else None
