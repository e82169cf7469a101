"""`Recovery`: notices lost shards, and lets the shards that are left go on without them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.regrouping import Formed, regroup
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet
from hogwild_dist.actors.errors import ClusterError, is_death
from hogwild_dist.errors import HogwildError, PeersLostError, ShardError

NOTICE_SECONDS = 1.0
"""Time after which a shard that lost its peers is believed; as a rule a death is noticed before."""

MOST_FRUITLESS = 3
"""Groups of the same members that may fail in the same round: damage passes, disagreement stays."""

log = logging.getLogger("hogwild_dist.driver")


class Recovery:
    """Lets a group go on after a loss, or says why it cannot.

    Args:
        shards: shards of the group.
        publications: what the group has published.
        timeout_seconds: time limit of a collective, in seconds.
        goes_on: whether shards of the group's visibility can go on at all.
        on_regrouped: called with the new group and the shards that were lost.
    """

    def __init__(
        self,
        shards: ShardSet,
        publications: Publications,
        *,
        timeout_seconds: float,
        goes_on: bool,
        on_regrouped: Callable[[Formed[ShardHandle], list[ShardHandle]], None],
    ) -> None:
        self._shards = shards
        self._publications = publications
        self._timeout_seconds = timeout_seconds
        self._goes_on = goes_on
        self._on_regrouped = on_regrouped
        self._deaths: dict[ShardHandle, Exception] = {}
        self._fatal: Exception | None = None
        self._witness: tuple[int, str] = (0, "")
        self._last_completed = -1
        self._num_fruitless = 0
        self._noticed = asyncio.Event()
        self._death_noticed = asyncio.Event()
        self._watches: list[asyncio.Task[None]] = []

    async def keep_going(self) -> None:
        """Watch the shards, and form a new group after each loss.

        Raises:
            HogwildError: the group is lost; the error says why.
        """
        for member in self._shards.members:
            self._watches.append(asyncio.create_task(self._watch(member)))
        while True:
            await self._noticed.wait()
            self._noticed.clear()
            if self._fatal is not None:
                raise self._fatal
            if not self._is_broken():
                continue
            if not self._goes_on or len(self._shards.members) == len(self._deaths):
                raise await self._reason()
            await self._regroup()

    def lose(self, member: ShardHandle, error: Exception) -> None:
        """Note that a shard has failed; called again for the same shard, it changes nothing."""
        if member not in self._shards.members or member in self._deaths:
            return
        told = self._shards.error_of(member, error)
        if is_death(error) or isinstance(told, ShardError):
            log.warning("%s", told)
            self._deaths[member] = told
            self._death_noticed.set()
            member.kill()  # its peers notice a closed connection at once
        elif isinstance(told, PeersLostError):
            self._witness = self._shards.epoch, str(told)
        else:
            self._fatal = told
        self._noticed.set()

    def lose_peers(self, epoch: int, reason: str) -> None:
        """Note that a shard has lost its peers in an epoch."""
        self._witness = max(self._witness, (epoch, reason))
        self._noticed.set()

    def _count_fruitless(self, formed: Formed[ShardHandle], lost: list[ShardHandle]) -> None:
        """Give the group up if the same members fail in the same round again and again."""
        fruitless = not lost and formed.completed == self._last_completed
        self._num_fruitless = self._num_fruitless + 1 if fruitless else 0
        self._last_completed = formed.completed
        if self._num_fruitless >= MOST_FRUITLESS:
            raise ClusterError(self._witness[1])

    def _is_broken(self) -> bool:
        """Return whether the present group has lost a shard."""
        died = any(member in self._deaths for member in self._shards.members)
        return died or self._witness[0] >= self._shards.epoch

    async def _watch(self, member: ShardHandle) -> None:
        """Notice when a shard dies, whatever it does."""
        try:
            await member.call("live")
        except Exception as error:
            self.lose(member, error)

    async def _reason(self) -> Exception:
        """Return why the group is lost: a death, if one is noticed in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._death_noticed.wait(), NOTICE_SECONDS)
        told = self._witness[1] or "No shard of the group is left that can go on."
        return next(iter(self._deaths.values()), ClusterError(told))

    async def _regroup(self) -> None:
        members = list(self._shards.members)
        try:
            formed = await regroup(
                [member for member in members if member not in self._deaths],
                lambda member, *call: member.call(*call),
                ranks={member: rank for rank, member in enumerate(members)},
                epoch=self._shards.epoch,
                publications=self._publications,
                host=self._shards.host,
                timeout_seconds=self._timeout_seconds,
            )
        except HogwildError:
            raise await self._reason() from None
        lost = [member for member in members if member not in formed.members]
        self._count_fruitless(formed, lost)
        for member in lost:
            if member not in self._deaths:
                log.warning("shard %d does not answer, and is left", members.index(member))
                member.kill()
            self._deaths.pop(member, None)
        for member in formed.unopened:  # its peers notice, and regroup without it
            member.kill()
        self._shards.members = list(formed.members)
        self._shards.epoch, self._shards.store = formed.epoch, formed.store
        self._on_regrouped(formed, lost)
