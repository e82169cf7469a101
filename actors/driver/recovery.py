"""`Recovery`: notices lost shards, and lets the shards that are left go on without them.

Shards join and leave by the same way, but between two steps, and without losing anything.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from hogwild_dist.actors.driver.answers import settle
from hogwild_dist.actors.driver.member_change import MemberChange
from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.regrouping import POLL_SECONDS, Formed, answer_of, regroup
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet, call
from hogwild_dist.actors.errors import AllLostError, ClusterError, is_death
from hogwild_dist.engine.shard_runner import Standing
from hogwild_dist.errors import HogwildError, PeersLostError, ShardError, first_line

NOTICE_SECONDS = 1.0
"""Time after which a shard that lost its peers is believed; as a rule a death is noticed before."""

LISTENING_PART = 0.25
"""Part of the time limit of a collective after which a shard is asked whether it is there."""

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
        pause: sends the command to wait between two steps, for the end of the given epoch.
        on_regrouped: called with the new group and the shards that were lost.
    """

    def __init__(
        self,
        shards: ShardSet,
        publications: Publications,
        *,
        timeout_seconds: float,
        goes_on: bool,
        pause: Callable[[int], None],
        on_regrouped: Callable[[Formed[ShardHandle], list[ShardHandle]], None],
    ) -> None:
        self._shards = shards
        self._publications = publications
        self._timeout_seconds = timeout_seconds
        self._goes_on = goes_on
        self._pause = pause
        self._on_regrouped = on_regrouped
        self._deaths: dict[ShardHandle, Exception] = {}
        self._fatal: Exception | None = None
        self._witness: tuple[int, str] = (0, "")
        self._last_completed = -1
        self._num_fruitless = 0
        self._noticed = asyncio.Event()
        self._death_noticed = asyncio.Event()
        self._watches: list[asyncio.Task[None]] = []
        self._change: MemberChange | None = None

    async def keep_going(self) -> None:
        """Watch the shards, and form a new group after each loss.

        Raises:
            AllLostError: no shard is left that can go on.
            HogwildError: the group is lost for another reason.
        """
        for member in self._shards.members:
            self._watches.append(asyncio.create_task(self._watch(member)))
        try:
            while True:
                await self._noticed.wait()
                self._noticed.clear()
                await self._act()
        finally:
            self._end_change(ClusterError("The group is lost."))

    async def change(self, joining: Sequence[ShardHandle], leaving: Sequence[ShardHandle]) -> None:
        """Let shards join and leave between two steps.

        Args:
            joining: shards in groups of their own, with the same model and settings.
            leaving: members that leave; their processes end. At least one member must stay.

        Raises:
            ClusterError: a shard that was to join is lost, or the group loses shards meanwhile
                again and again.
            HogwildError: the group is lost.
        """
        assert self._change is None, "one change at a time"
        self._change = change = MemberChange(joining, leaving)
        self._noticed.set()
        await change.done

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

    async def _act(self) -> None:
        """Form a new group if shards are lost, or are to join or leave."""
        if self._fatal is not None:
            raise self._fatal
        if self._is_broken():
            members = list(self._shards.members)
            if not self._goes_on or len(members) == len(self._deaths):
                raise await self._reason()
            formed = await self._regroup(members)
            self._count_fruitless(formed, lost=len(formed.members) < len(members))
        if self._change is not None and not self._is_broken():
            await self._carry_out(self._change)

    def _count_fruitless(self, formed: Formed[ShardHandle], *, lost: bool) -> None:
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
        """Notice when a shard dies or hangs, whatever it does."""
        listening = asyncio.create_task(self._listen(member))
        try:
            await member.call("live")
        except Exception as error:
            self.lose(member, error)
        finally:
            listening.cancel()

    async def _listen(self, member: ShardHandle) -> None:
        """Notice when a shard hangs that no peer waits for, as in a group of one."""
        seconds = self._timeout_seconds
        while True:
            await asyncio.sleep(seconds * LISTENING_PART)
            try:
                await answer_of(member.call("standing"), seconds)
            except TimeoutError:
                about = f"A shard on node {member.info.node} has not answered for {seconds:g} s."
                self.lose(member, ShardError(about))
                return
            except Exception:
                return  # a death is noticed by itself

    async def _reason(self) -> AllLostError:
        """Return why the shards are lost: a death, if one is noticed in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._death_noticed.wait(), NOTICE_SECONDS)
        told = self._witness[1] or "No shard of the group is left that can go on."
        return AllLostError(str(next(iter(self._deaths.values()), told)))

    async def _carry_out(self, change: MemberChange) -> None:
        """Try to let shards join and leave; a loss meanwhile comes first."""
        members = list(self._shards.members)
        error = await self._prepare(change, members)
        if error is None:
            formed = await self._regroup(change.next_members(members), change.leaving, members)
            for member in set(change.joining) & set(formed.members):
                self._watches.append(asyncio.create_task(self._watch(member)))
            if change.is_made(formed.members):
                for member in change.leaving:
                    member.kill()
                self._end_change(None)
                return
            error = ClusterError("The shards did not reach each other.")
        log.warning("the shards cannot be changed yet: %s", first_line(error))
        if (final := await change.final_error(error)) is not None:
            for member in change.joining:
                member.kill()
            self._end_change(final)
        self._noticed.set()
        if not self._is_broken() and self._shards.members == members:
            await self._regroup(members)  # some may wait already

    async def _prepare(
        self, change: MemberChange, members: Sequence[ShardHandle]
    ) -> Exception | None:
        """Prepare a change as long as no shard is lost; return why that has failed, or None."""
        preparing = asyncio.create_task(
            change.prepare(members, self._pause_all, self._timeout_seconds)
        )
        try:
            while not preparing.done():
                noticed = asyncio.create_task(self._noticed.wait())
                await asyncio.wait([preparing, noticed], return_when=asyncio.FIRST_COMPLETED)
                noticed.cancel()
                self._noticed.clear()
                if self._fatal is not None or self._is_broken():
                    return PeersLostError("A shard was lost.")
            preparing.result()
        except Exception as error:
            return error
        finally:
            preparing.cancel()
        return None

    async def _pause_all(self) -> None:
        """Let all members wait between two steps, and return when they do."""
        self._pause(self._shards.epoch)
        while True:
            if self._is_broken():
                raise PeersLostError("a shard was lost")
            calls = (member.call("standing") for member in self._shards.members)
            answers = asyncio.wait_for(asyncio.gather(*calls), self._timeout_seconds)
            standings: list[Standing] = await answers
            if all(one.paused for one in standings):
                return
            await asyncio.sleep(POLL_SECONDS)

    def _end_change(self, error: Exception | None) -> None:
        if self._change is not None:
            settle(self._change.done, error)
            self._change = None

    async def _regroup(
        self,
        candidates: Sequence[ShardHandle],
        leaving: Sequence[ShardHandle] = (),
        otherwise: Sequence[ShardHandle] = (),
    ) -> Formed[ShardHandle]:
        """Form the next group of candidates that are left, without those that leave.

        Args:
            candidates: who is to form it.
            leaving: members that need not be in it.
            otherwise: who forms it if the candidates cannot.
        """
        members = list(self._shards.members)
        try:
            formed = await regroup(
                [member for member in candidates if member not in self._deaths],
                call,
                epoch=self._shards.epoch,
                publications=self._publications,
                host=self._shards.host,
                timeout_seconds=self._timeout_seconds,
                otherwise=[member for member in otherwise if member not in self._deaths],
            )
        except HogwildError:
            raise await self._reason() from None
        lost = [one for one in members if one not in (*formed.members, *leaving)]
        for member in lost:
            if member not in self._deaths:
                log.warning("shard %d does not answer, and is left", members.index(member))
                member.kill()
        self._deaths = {one: why for one, why in self._deaths.items() if one in formed.members}
        if not self._deaths:
            self._death_noticed.clear()
        for member in formed.unopened:  # its peers notice, and regroup without it
            member.kill()
        self._shards.members = list(formed.members)
        self._shards.epoch, self._shards.store = formed.epoch, formed.store
        self._on_regrouped(formed, lost)
        return formed
