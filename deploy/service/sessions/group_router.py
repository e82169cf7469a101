"""Finding the groups of a service, and the group with the lowest load."""

import asyncio
import random
import time

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.errors import ClusterError, GoneError, SilentError
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.errors import HogwildError

LOOKUP_SECONDS = 1.0
"""Shortest time between two lookups of a slot that has no group."""

NOT_READY = "No group of shards is ready yet; try again soon."
"""What a request is told that finds no group."""

SILENT_SECONDS = 10.0
"""Time for which no request asks a group again whose driver has not answered."""


class GroupRouter:
    """Finds groups by their slots; every ingress finds the same.

    Args:
        config: configuration of the service.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._groups: dict[int, AsyncShardGroup] = {}
        self._looked_up: dict[int, float] = {}
        self._silent_until: dict[int, float] = {}

    async def info(self) -> GroupInfo:
        """Return the info of any ready group; all groups of a service have the same settings.

        Raises:
            ClusterError: no group is ready.
        """
        for slot in range(self._config.num_slots):
            try:
                return await self._lookup(slot).info()
            except HogwildError as error:
                self._note(slot, error)
        raise ClusterError(NOT_READY)

    async def loads(self, seconds: float | None = None) -> dict[int, Load]:
        """Return slot -> load for each group that accepts sessions.

        Args:
            seconds: time in which a group has to answer; None is as long as for any call.
        """
        slots = list(range(self._config.num_slots))
        found = await asyncio.gather(*(self._load(slot, seconds) for slot in slots))
        return {slot: load for slot, load in zip(slots, found, strict=True) if load is not None}

    async def least_loaded(self) -> tuple[int, dict[int, Load]]:
        """Return a slot whose group has the lowest load, and all loads.

        Raises:
            ClusterError: no group is ready.
        """
        loads = await self.loads()
        if not loads:
            raise ClusterError(NOT_READY)
        least = min(load.running for load in loads.values())
        return random.choice([s for s, load in loads.items() if load.running == least]), loads

    def at(self, slot: int) -> AsyncShardGroup:
        """Return the group of a slot.

        Raises:
            GoneError: the slot has no group.
        """
        if slot not in self._groups:
            if slot >= self._config.num_slots:
                raise GoneError(f"There is no group in slot {slot}.")
            self._looked_up[slot] = time.monotonic()
            self._groups[slot] = AsyncShardGroup(self._config.group_name(slot))
        return self._groups[slot]

    def forget(self, slot: int) -> None:
        """Forget the group of a slot, so that the next call looks it up again."""
        self._groups.pop(slot, None)

    def _lookup(self, slot: int) -> AsyncShardGroup:
        """Return the group of a slot; an empty or silent slot is asked only now and then."""
        if time.monotonic() < self._silent_until.get(slot, 0.0):
            raise ClusterError(f"The group in slot {slot} did not answer.")
        due = self._looked_up.get(slot, 0.0) + LOOKUP_SECONDS
        if slot not in self._groups and time.monotonic() < due:
            raise GoneError(f"There is no group in slot {slot}.")
        return self.at(slot)

    async def _load(self, slot: int, seconds: float | None) -> Load | None:
        try:
            async with asyncio.timeout(seconds):
                load = await self._lookup(slot).load()
        except TimeoutError:  # it is being started, or hangs
            return None
        except HogwildError as error:
            self._note(slot, error)
            return None
        return load if load.ready else None

    def _note(self, slot: int, error: HogwildError) -> None:
        """Note that the group of a slot is gone or does not answer."""
        if isinstance(error, GoneError):
            self.forget(slot)
        elif isinstance(error, SilentError):
            self._silent_until[slot] = time.monotonic() + SILENT_SECONDS
