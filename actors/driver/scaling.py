"""`Scaling`: keeps a group at the number of shards that is wanted, while its sessions go on.

Lost shards are replaced, shards leave nodes that are being drained, and a group grows, shrinks or
moves to new processes when it is told to.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hogwild_dist.actors.driver.recovery import Recovery
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.placement.nodes import draining_nodes
from hogwild_dist.actors.settings import check_num_shards
from hogwild_dist.errors import ConfigError, HogwildError

RETRY_SECONDS = 30.0
"""Time between two attempts to replace a lost shard."""

DRAIN_SECONDS = 2.0
"""Time between two looks at which nodes are being drained."""

log = logging.getLogger("hogwild_dist.driver")


class Scaling:
    """Starts shards that join the group, and lets shards leave.

    Args:
        shards: shards of the group.
        recovery: lets them join and leave.
        driver: handle of the driver.
        wanted: number of shards of the group.
        possible: whether shards of the group's visibility can join and leave.

    Attributes:
        wanted: number of shards that the group is to have.
    """

    def __init__(
        self, shards: ShardSet, recovery: Recovery, driver: Any, *, wanted: int, possible: bool
    ) -> None:
        self.wanted = wanted
        self._shards = shards
        self._recovery = recovery
        self._driver = driver
        self._possible = possible
        self._old: Sequence[ShardHandle] = ()  # members that are to be replaced one by one
        self._request: asyncio.Future[None] | None = None
        self._woken = asyncio.Event()
        self._trying: asyncio.Task[None] | None = None
        self._ended = False

    async def scale(self, count: int) -> None:
        """Bring the group to another number of shards, and return when it has it.

        Raises:
            ConfigError: the number is out of range, or the group's visibility forbids it.
            ClusterError: another change is going on, the cluster is too small or a shard was lost;
                the group goes on with the shards that it has.
        """
        check_num_shards(count)
        self._check_possible()
        before, self.wanted = self.wanted, count
        try:
            await self._ask()
        except HogwildError:
            self.wanted = before
            raise

    async def renew(self) -> None:
        """Replace all shards by new processes, one by one.

        Raises:
            ConfigError: the group's visibility forbids it.
            ClusterError: another change is going on, the cluster has no room for one more shard, or
                a shard was lost; the group goes on with the shards that it has.
        """
        self._check_possible()
        self._old = list(self._shards.members)
        try:
            await self._ask()
        finally:
            self._old = ()

    def wake(self) -> None:
        """Look whether the group has the shards that it is to have."""
        self._woken.set()

    async def keep(self) -> None:
        """Start or end shards whenever they are not those that are wanted."""
        while self._possible and not self._ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), DRAIN_SECONDS)
            if self._woken.is_set() or await self._draining():
                self._woken.clear()
                self._trying = asyncio.create_task(self._try())
                await asyncio.wait([self._trying])

    def end(self) -> None:
        """Start no more shards: the group has ended."""
        self._ended = True
        self._woken.set()
        if self._trying is not None:
            self._trying.cancel()
        self._answer(ClusterError("The group has ended."))

    def _check_possible(self) -> None:
        if not self._possible:
            raise ConfigError(
                "Shards cannot join or leave a group with overlapped visibility; start another one."
            )
        if self._request is not None:
            raise ClusterError("The group's shards are being changed; wait until that is done.")

    async def _ask(self) -> None:
        """Let `keep` do what is wanted, and wait for it."""
        self._request = asyncio.Future()
        self._woken.set()
        try:
            await self._request
        finally:
            self._request = None

    async def _try(self) -> None:
        try:
            await self._leave_nodes()
            for one in self._old:
                if one in self._shards.members:
                    await self._replace([one], await self._shards.add(1, self._driver))
            while missing := self.wanted - len(self._shards.members):
                await (self._grow(missing) if missing > 0 else self._shrink(-missing))
        except HogwildError as error:
            if self._request is None:
                log.warning("the group is not at full strength yet: %s", error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._woken.set)
            self._answer(error)
        except Exception as error:
            log.exception("the shards cannot be changed")
            self._answer(ClusterError(f"The shards cannot be changed: {error}"))
        else:
            self._answer(None)

    async def _draining(self) -> list[ShardHandle]:
        """Return the members on nodes that are being drained."""
        nodes = await asyncio.to_thread(draining_nodes)
        return [one for one in self._shards.members if one.info.node_id in nodes]

    async def _leave_nodes(self) -> None:
        """Move shards away from nodes that are being drained; without room, they leave alone."""
        if not (leaving := await self._draining()):
            return
        log.warning("%d shards leave nodes that are being drained", len(leaving))
        try:
            joining = await self._shards.add(len(leaving), self._driver)
        except ClusterError:
            if len(leaving) == len(self._shards.members):
                raise
            joining = []
        await self._replace(leaving, joining)

    async def _grow(self, count: int) -> None:
        await self._replace([], await self._shards.add(count, self._driver))

    async def _shrink(self, count: int) -> None:
        await self._replace(self._shards.members[-count:], [])
        self._shards.shrink()

    async def _replace(
        self, leaving: Sequence[ShardHandle], joining: Sequence[ShardHandle]
    ) -> None:
        try:
            await self._recovery.change(joining, leaving)
        finally:
            for one in (*leaving, *joining):
                if one not in self._shards.members:
                    self._shards.remove(one)

    def _answer(self, error: HogwildError | None) -> None:
        """Tell who has asked for a change how it went."""
        if self._request is None or self._request.done():
            return
        if error is None:
            self._request.set_result(None)
        else:
            self._request.set_exception(error)
