"""Regrouping: how the shards that are left form the next group of a membership and go on.

The protocol, of which every part may be repeated under a higher epoch:

1. Every shard is told the number of the next membership, and stops before its next round. From then
   on it ignores older memberships. A shard that does not answer is lost.
2. When all have stopped, the most that any of them has completed is known. What was shown to
   readers counts too: the lost shard may have been the only one that had completed it.
3. The shards meet in a new group. If one is lost meanwhile, it begins again at 1.
4. The group is opened: shards that are behind complete what they have missed alone, and all go on.

The module knows nothing of Ray: a member is whatever `call` can call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.shard_runner import Opening, Standing
from hogwild_dist.errors import ShardError
from hogwild_dist.exchange.process_group import Membership, serve_store

ANSWER_SECONDS = 1.0
"""Time in which a live shard answers a call."""

STALLED_SECONDS = 0.25
"""Time in which this process, after it was stalled, hears what has come meanwhile."""

POLL_SECONDS = 0.01
"""Pause between two questions whether a shard has stopped."""

TRIES = 3
"""Groups of the same shards that are tried; in the last one, the first shard is alone, since the
others may not reach each other."""

log = logging.getLogger("hogwild_dist.driver")

M = TypeVar("M", bound=Hashable)
Call = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Formed(Generic[M]):
    """A group that goes on.

    Attributes:
        epoch: number of its membership.
        members: its members, by rank.
        completed: number of rounds after which it begins.
        commands: for each member, the highest command id up to which it holds every command.
        unopened: members that have not confirmed that they go on.
        store: the store in which it met, which must live as long as the group.
    """

    epoch: int
    members: Sequence[M]
    completed: int
    commands: Sequence[int]
    unopened: Sequence[M]
    store: Any


async def regroup(
    members: Sequence[M],
    call: Call,
    *,
    epoch: int,
    publications: Publications,
    host: str,
    timeout_seconds: float,
    otherwise: Sequence[M] = (),
) -> Formed[M]:
    """Form the next group of the members that are left, and let it go on.

    Args:
        members: members of the last group that may be left.
        call: calls a method of a member: ``call(member, method, *arguments)``.
        epoch: number of the last membership that was begun.
        publications: what the group has published.
        host: this machine's address as the members see it.
        timeout_seconds: time limit of a collective, in seconds.
        otherwise: members of the next group if the others cannot all form it at once, because one
            of them is lost or not reached by its peers; empty if there is no such group.

    Raises:
        ClusterError: no member is left, or no group could be formed.
    """
    left, tries = list(members), 0
    while True:
        epoch += 1
        standings = await _stop(left, call, epoch, timeout_seconds)
        whole = len(standings) == len(left)
        if whole or not otherwise:
            tries = tries + 1 if whole else 1
            left = [member for member in left if member in standings]
            left = left[:1] if tries == TRIES else left
            if not left or tries > TRIES:
                raise ClusterError("No shard of the group is left that can go on.")
            completed = _most_completed(standings, publications.begin(epoch))
            store, failures = await _meet(left, call, epoch, host, timeout_seconds)
            if not failures:
                break
            broken = {one for one, error in failures.items() if isinstance(error, ShardError)}
            left = [member for member in left if member not in broken]
        if otherwise:
            left, otherwise, tries = list(otherwise), (), 0
    opening = Opening(epoch=epoch, completed=completed, shown=publications.shown)
    unopened = await _all(left, call, "open", [opening] * len(left), 2 * ANSWER_SECONDS)
    return Formed(
        epoch=epoch,
        members=left,
        completed=completed.number,
        commands=[standings[member].command for member in left],
        unopened=list(unopened),
        store=store,
    )


async def _meet(
    members: Sequence[M], call: Call, epoch: int, host: str, seconds: float
) -> tuple[Any, dict[M, BaseException]]:
    """Let members form a group; return the store in which they meet, and who has failed."""
    store = serve_store(host)
    first = Membership(
        epoch=epoch,
        rank=0,
        world_size=len(members),
        store_host=host,
        store_port=store.port,
        timeout_seconds=seconds,
    )
    places = [replace(first, rank=rank) for rank in range(len(members))]
    return store, await _all(members, call, "form", places, seconds + ANSWER_SECONDS)


async def _stop(members: Sequence[M], call: Call, epoch: int, seconds: float) -> dict[M, Standing]:
    """Stop members before their next round; return where those stand that have stopped in time."""

    async def stop(member: M) -> Standing | None:
        deadline = asyncio.get_running_loop().time() + seconds + ANSWER_SECONDS
        standing: Standing | None = await _ask(call, member, "freeze", epoch)
        while standing is not None and standing.completed is None:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(POLL_SECONDS)
            standing = await _ask(call, member, "standing")
        return standing

    found = await asyncio.gather(*map(stop, members))
    return {one: standing for one, standing in zip(members, found, strict=True) if standing}


def _most_completed(standings: Mapping[M, Standing], shown: Progress) -> Progress:
    """Return the most that a member has completed, or that was shown."""
    progress = [one.completed for one in standings.values() if one.completed is not None]
    return max([*progress, shown], key=lambda one: one.number)


async def _ask(call: Call, member: M, method: str, *arguments: Any) -> Any:
    """Return a member's answer; None if it has none."""
    try:
        return await answer_of(call(member, method, *arguments), ANSWER_SECONDS)
    except TimeoutError:
        log.warning("a shard does not answer within %g s", ANSWER_SECONDS)
    except Exception as error:
        log.warning("a shard does not answer: %s", error or type(error).__name__)
    return None


async def answer_of(calling: Awaitable[Any], seconds: float) -> Any:
    """Return the answer to a call, also if this process was stalled when it came.

    Raises:
        TimeoutError: there is none in time.
        Exception: the call has failed.
    """
    answer = asyncio.ensure_future(calling)
    try:
        for patience in (seconds, STALLED_SECONDS):  # in the second, what came meanwhile is heard
            await asyncio.wait([answer], timeout=patience)
            if answer.done():
                return answer.result()
    finally:
        answer.cancel()
    raise TimeoutError


async def _all(
    members: Sequence[M], call: Call, method: str, arguments: Sequence[Any], seconds: float
) -> dict[M, BaseException]:
    """Call a method of all members; return who has failed, as soon as one has."""
    calls = {
        asyncio.ensure_future(call(member, method, argument)): member
        for member, argument in zip(members, arguments, strict=True)
    }
    done, pending = await asyncio.wait(calls, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for one in pending:
        one.cancel()
    failures = {calls[one]: error for one in done if (error := one.exception()) is not None}
    late: dict[M, BaseException] = {calls[one]: TimeoutError() for one in pending}
    return failures or late
