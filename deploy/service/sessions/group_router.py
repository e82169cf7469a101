"""The groups of a service as an ingress sees them: which there are, and which has least to do."""

import asyncio
import random
import time

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.errors import ClusterError, GoneError
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.errors import HogwildError

LOOKUP_SECONDS = 1.0
"""Who asks all slots looks at one without a group no more often."""


class GroupRouter:
    """Finds groups by their slots; holds no state that another ingress would lack.

    Args:
        config: of the service.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._groups: dict[int, AsyncShardGroup] = {}
        self._looked_up: dict[int, float] = {}

    async def info(self) -> GroupInfo:
        """Of any group that is ready: all of a service are alike.

        Raises:
            ClusterError: none is.
        """
        for slot in range(self._config.num_slots):
            try:
                return await self._lookup(slot).info()
            except GoneError:
                self.forget(slot)
            except HogwildError:
                continue
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

    def at(self, slot: int) -> AsyncShardGroup:
        """The group of a slot.

        Raises:
            GoneError: there is none.
        """
        if slot not in self._groups:
            if slot >= self._config.num_slots:
                raise GoneError(f"There is no group in slot {slot}.")
            self._looked_up[slot] = time.monotonic()
            self._groups[slot] = AsyncShardGroup(self._config.group_name(slot))
        return self._groups[slot]

    def forget(self, slot: int) -> None:
        """Look for a slot's group anew, since what was known of it is gone."""
        self._groups.pop(slot, None)

    def _lookup(self, slot: int) -> AsyncShardGroup:
        """The group of a slot, for which is looked now and then where there was none."""
        due = self._looked_up.get(slot, 0.0) + LOOKUP_SECONDS
        if slot not in self._groups and time.monotonic() < due:
            raise GoneError(f"There is no group in slot {slot}.")
        return self.at(slot)

    async def _load(self, slot: int) -> Load | None:
        try:
            load = await self._lookup(slot).load()
        except GoneError:
            self.forget(slot)
            return None
        except HogwildError:
            return None
        return load if load.ready else None
