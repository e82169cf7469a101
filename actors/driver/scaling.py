"""`Scaling`: keeps a group at the number of shards that is wanted, while its sessions go on.

Lost shards are replaced, shards leave nodes that are being drained, and a group grows, shrinks or
moves to new processes when it is told to.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hogwild_dist.actors.driver.answers import settle
from hogwild_dist.actors.driver.recovery import Recovery
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.placement.nodes import draining_nodes
from hogwild_dist.actors.settings import check_num_shards
from hogwild_dist.errors import ConfigError, HogwildError, first_line

RETRY_SECONDS = 30.0
"""Time between two attempts to replace a shard for which there is no room."""

DRAIN_SECONDS = 2.0
"""Time between two looks at which nodes are being drained."""

log = logging.getLogger("hogwild_dist.driver")


@dataclass(eq=False, slots=True)
class _Request:
    """A change of the shards that somebody waits for.

    Attributes:
        carry_out: makes the change.
        done: set when it is made, or has failed.
    """

    carry_out: Callable[[], Awaitable[None]]
    done: asyncio.Future[None] = field(default_factory=asyncio.Future)


class Scaling:
    """Starts shards that join the group, and lets shards leave.

    Args:
        shards: shards of the group.
        recovery: lets them join and leave.
        wanted: number of shards of the group.
        possible: whether shards of the group's visibility can join and leave.
        report_progress: called with each line of progress.

    Attributes:
        wanted: number of shards that the group is to have.
    """

    def __init__(
        self,
        shards: ShardSet,
        recovery: Recovery,
        *,
        wanted: int,
        possible: bool,
        report_progress: Callable[[str], None],
    ) -> None:
        self.wanted = wanted
        self._shards = shards
        self._recovery = recovery
        self._possible = possible
        self._report_progress = report_progress
        self._request: _Request | None = None
        self._woken = asyncio.Event()
        self._resting_until = 0.0
        """Time of the event loop until which only requests count."""
        self._working: asyncio.Task[None] | None = None
        self._ended = False

    async def scale(self, count: int) -> None:
        """Bring the group to another number of shards, and return when it has it.

        Raises:
            ConfigError: the number is out of range, or the group's visibility forbids it.
            ClusterError: another change is going on, the cluster is too small or a shard was lost;
                the group goes on with the shards that it has.
        """
        check_num_shards(count)

        async def carry_out() -> None:
            await self._adjust(count)
            self.wanted = count

        await self._ask(carry_out)

    async def renew(self) -> None:
        """Replace all shards by new processes, one by one.

        Raises:
            ConfigError: the group's visibility forbids it.
            ClusterError: another change is going on, the cluster has no room for one more shard, or
                a shard was lost; the group goes on with the shards that it has.
        """

        async def carry_out() -> None:
            for one in list(self._shards.members):
                if one in self._shards.members:
                    await self._replace([one])

        await self._ask(carry_out)

    def wake(self) -> None:
        """Look whether the group has the shards that it is to have."""
        self._woken.set()

    async def keep(self) -> None:
        """Start or end shards whenever they are not those that are wanted."""
        while self._possible and not self._ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), DRAIN_SECONDS)
            self._woken.clear()
            self._working = asyncio.create_task(self._work())
            await asyncio.wait([self._working])

    def end(self) -> None:
        """Start no more shards: the group has ended."""
        self._ended = True
        self._woken.set()
        if self._working is not None:
            self._working.cancel()
        if self._request is not None:
            settle(
                self._request.done,
                ClusterError("All shards of the group are lost, or it has ended."),
            )

    async def _ask(self, carry_out: Callable[[], Awaitable[None]]) -> None:
        """Let `keep` carry out a change, and wait for it."""
        if not self._possible:
            raise ConfigError(
                "Shards cannot join or leave a group with overlapped visibility; start another one."
            )
        if self._request is not None:
            raise ClusterError("The group's shards are being changed; wait until that is done.")
        self._request = request = _Request(carry_out)
        self._woken.set()
        try:
            await request.done
        finally:
            self._request = None

    async def _work(self) -> None:
        """Carry out what was asked for; else bring the group to what it is to have."""
        if (request := self._request) is not None:
            error = await _error_of(request.carry_out())
            self._report_progress("ready")
            settle(request.done, error)
        elif asyncio.get_running_loop().time() >= self._resting_until:
            await self._recover()

    async def _recover(self) -> None:
        """Move away from nodes that are being drained, and replace lost shards one by one."""
        while self._request is None:
            leaving = await self._draining()
            if not leaving and len(self._shards.members) >= self.wanted:
                return
            work = self._leave(leaving) if leaving else self._adjust(len(self._shards.members) + 1)
            if (error := await _error_of(work)) is not None:
                log.warning("the group is not at full strength yet: %s", error)
                self._resting_until = asyncio.get_running_loop().time() + RETRY_SECONDS
                self._report_progress(
                    f"{len(self._shards.members)} of {self.wanted} shards; another attempt follows "
                    f"within {RETRY_SECONDS:g} s"
                )
                return
            self._report_progress("ready")

    async def _draining(self) -> list[ShardHandle]:
        """Return the members on nodes that are being drained, as far as Ray can tell now."""
        try:
            nodes = await asyncio.to_thread(draining_nodes)
        except Exception as error:
            log.info("Ray does not tell which nodes are being drained: %s", first_line(error))
            return []
        return [one for one in self._shards.members if one.info.node_id in nodes]

    async def _leave(self, leaving: Sequence[ShardHandle]) -> None:
        """Move shards to other nodes; without room there, they leave alone."""
        log.warning("%d shards leave nodes that are being drained", len(leaving))
        try:
            await self._replace(leaving)
        except ClusterError:
            if len(leaving) == len(self._shards.members):
                raise
            await self._change([], leaving)

    async def _adjust(self, count: int) -> None:
        """Bring the group to a number of shards, whatever is lost meanwhile."""
        while missing := count - len(self._shards.members):
            if missing > 0:
                await self._change(await self._shards.add(missing), [])
            else:
                await self._change([], self._shards.members[missing:])

    async def _replace(self, leaving: Sequence[ShardHandle]) -> None:
        """Replace members by as many new shards."""
        joining = await self._shards.add(len(leaving), in_place_of=leaving)
        await self._change(joining, leaving)

    async def _change(self, joining: Sequence[ShardHandle], leaving: Sequence[ShardHandle]) -> None:
        try:
            await self._recovery.change(joining, leaving)
        finally:
            for one in (*leaving, *joining):
                if one not in self._shards.members:
                    self._shards.remove(one)
            self._shards.shrink()


async def _error_of(work: Awaitable[None]) -> HogwildError | None:
    """Return the error that some work ends with, or None."""
    try:
        await work
    except HogwildError as error:
        return error
    except Exception as error:
        log.exception("the shards cannot be changed")
        return ClusterError(f"The shards cannot be changed: {error}")
    return None
