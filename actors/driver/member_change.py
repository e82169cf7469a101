"""`MemberChange`: shards that are to join and to leave a group between two of its steps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hogwild_dist.actors.driver.shard_set import ShardHandle, call
from hogwild_dist.actors.driver.state_copy import copy_state
from hogwild_dist.actors.errors import ClusterError, plain

ANSWER_SECONDS = 5.0
"""Time in which a live shard answers a call, also while it takes over a state."""

MOST_ATTEMPTS = 3
"""Attempts at a change, each of which a lost shard may end."""

LOST_NEWCOMER = "A shard was lost while it joined the group."


@dataclass(eq=False, slots=True)
class MemberChange:
    """Shards that join and leave a group.

    Attributes:
        joining: shards in groups of their own.
        leaving: members that leave.
        done: set when the change is done, or has failed.
        attempts: number of attempts so far.
    """

    joining: Sequence[ShardHandle]
    leaving: Sequence[ShardHandle]
    done: asyncio.Future[None] = field(default_factory=asyncio.Future)
    attempts: int = 0

    def next_members(self, members: Sequence[ShardHandle]) -> list[ShardHandle]:
        """Return the members after the change; those that join come last."""
        return [*(one for one in members if one not in self.leaving), *self.joining]

    async def prepare(
        self,
        members: Sequence[ShardHandle],
        pause: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> None:
        """Let all members wait between two steps, with their state copied to those that join.

        Args:
            members: members of the group.
            pause: lets all members wait between two steps, and returns when they do.
            seconds: time limit of a single call, in seconds.

        Raises:
            ClusterError: no member would be left.
            Exception: a shard is lost.
        """
        self.attempts += 1
        if not self.next_members(members):
            self.attempts = MOST_ATTEMPTS
            raise ClusterError("The shards that were to stay are lost; the others stay instead.")
        if self.joining:
            await copy_state(members[0], self.joining, call, pause, seconds)
        else:
            await pause()

    def is_made(self, members: Sequence[ShardHandle]) -> bool:
        """Return whether a group is one after the change."""
        return set(self.joining) <= set(members) and not set(self.leaving) & set(members)

    async def final_error(self, error: Exception) -> Exception | None:
        """Return why no other attempt is made after one that has failed; None if one is."""
        answers = await asyncio.gather(*(answers_at_all(one) for one in self.joining))
        if not all(answers):
            return ClusterError(LOST_NEWCOMER)
        return plain(error) if self.attempts >= MOST_ATTEMPTS else None


async def answers_at_all(member: ShardHandle) -> bool:
    """Return whether a shard answers a call."""
    with suppress(Exception):
        await asyncio.wait_for(member.call("standing"), ANSWER_SECONDS)
        return True
    return False
