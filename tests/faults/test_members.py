"""Shards that join and leave a group while sessions run change nothing that is written."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ExchangeError
from tests.faults.group import Group, Played
from tests.faults.injector import Fault
from tests.faults.test_lost_shards import LAYERED, POINTS, STEPPED, check, play

pytestmark = pytest.mark.slow


def joining(num_updates: int, *, leaving: Callable[[Group], list] = lambda _: []) -> Any:
    """Let a shard join once so many updates were shown, and others leave."""

    async def join(group: Group) -> None:
        newcomer = await group.spare()
        await group.until(num_updates)
        await group.recovery.change([newcomer], leaving(group))  # type: ignore[list-item]

    return join


def check_copies(played: Played) -> None:
    assert played.checksums == [played.checksums[0]] * played.num_shards


@pytest.mark.parametrize("num_updates", [0, 1, 20, 60])
@pytest.mark.parametrize("visibility", POINTS)
def test_a_shard_joins(visibility: Visibility, num_updates: int) -> None:
    played = play(2, visibility, beside=joining(num_updates))
    check(played, visibility)
    check_copies(played)
    assert (played.epoch, played.num_shards) == (2, 3)


@pytest.mark.parametrize("visibility", POINTS)
def test_a_group_moves_to_other_shards(visibility: Visibility) -> None:
    """One by one, each new shard from another donor."""

    async def move(group: Group) -> None:
        for num_updates, old in zip((5, 25, 45), list(group.members), strict=True):
            await joining(num_updates, leaving=lambda _, old=old: [old])(group)

    played = play(3, visibility, beside=move)
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (4, 3)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_shard_leaves(rank: int) -> None:
    async def leave(group: Group) -> None:
        await group.until(30)
        await group.recovery.change([], [group.members[rank]])  # type: ignore[list-item]

    played = play(3, STEPPED, beside=leave)
    check(played, STEPPED)
    assert (played.epoch, played.num_shards) == (2, 2)


def test_a_group_of_one_lives_on_in_the_shard_that_joined() -> None:
    async def outlive(group: Group) -> None:
        await joining(20)(group)
        group.members[0].kill()

    played = play(1, LAYERED, beside=outlive)
    check(played, LAYERED)
    assert (played.epoch, played.num_shards) == (3, 1)


@pytest.mark.parametrize(
    "fault", [Fault(0, "post", 9), Fault(1, "post", 9), Fault(1, "collect", 9, kind="SIGSTOP")]
)
def test_a_member_that_is_lost_before_the_pause_delays_the_newcomer(fault: Fault) -> None:
    played = play(3, STEPPED, fault, timeout=3.0, beside=joining(0))
    check(played, STEPPED)
    assert played.num_shards == 3


@pytest.mark.parametrize("method", ["save", "load_state", "write_pages", "form", "open"])
def test_a_newcomer_that_is_lost_costs_nothing(method: str) -> None:
    async def join(group: Group) -> None:
        newcomer = await group.spare()
        call = newcomer.call if method != "save" else group.members[0].call

        def fall(called: str, *arguments: Any) -> Any:
            if called == method:
                newcomer.kill()
            return call(called, *arguments)

        (newcomer if method != "save" else group.members[0]).call = fall  # type: ignore[method-assign]
        await group.until(10)
        joined = method == "open"  # then it is lost as any other shard
        with nullcontext() if joined else pytest.raises(ClusterError, match="while it joined"):
            await group.recovery.change([newcomer], [])  # type: ignore[list-item]

    played = play(2, STEPPED, beside=join)
    check(played, STEPPED)
    assert played.num_shards == 2


@pytest.mark.parametrize("method", ["begin_copy", "read_pages", "save"])
def test_another_donor_takes_the_place_of_one_that_is_lost(method: str) -> None:
    async def join(group: Group) -> None:
        newcomer, donor = await group.spare(), group.members[0]
        call = donor.call

        def fall(called: str, *arguments: Any) -> Any:
            if called == method:
                donor.kill()
            return call(called, *arguments)

        donor.call = fall  # type: ignore[method-assign]
        await group.until(10)
        await group.recovery.change([newcomer], [])  # type: ignore[list-item]

    played = play(2, STEPPED, beside=join)
    check(played, STEPPED)
    assert played.num_shards == 2


def test_a_loss_while_a_newcomer_copies_is_met_at_once() -> None:
    async def join(group: Group) -> None:
        newcomer, struck = await group.spare(), []
        call = newcomer.call

        def slow(called: str, *arguments: Any) -> Any:
            if called == "write_pages" and not struck:
                struck.append(group.members[1])
                struck[0].kill()
                return asyncio.get_running_loop().create_future()  # the copy takes for ever
            return call(called, *arguments)

        newcomer.call = slow  # type: ignore[method-assign]
        await group.until(10)
        await group.recovery.change([newcomer], [])  # type: ignore[list-item]
        assert struck[0] not in group.members

    played = play(3, STEPPED, timeout=90.0, beside=join)
    check(played, STEPPED)
    assert played.num_shards == 3


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("dies", [False, True], ids=["is not reached", "dies"])
def test_a_group_stays_as_it_is_if_one_of_its_new_shards(num_shards: int, dies: bool) -> None:
    """Two shards are to take the places of two, or of the only one."""

    async def move(group: Group) -> None:
        good, bad = await group.spare(), await group.spare()
        call = bad.call

        def alone(called: str, *arguments: Any) -> Any:
            if called == "form" and dies:
                bad.kill()
            if called == "form" and not dies:
                fails = ExchangeError("The other shards were not reached.")
                return asyncio.ensure_future(raising(fails))
            return call(called, *arguments)

        bad.call = alone  # type: ignore[method-assign]
        await group.until(10)
        before = list(group.members)
        with pytest.raises(ClusterError, match=r"while it joined|did not reach"):
            await group.recovery.change([good, bad], before[:2])  # type: ignore[list-item]
        assert group.members == before

    played = play(num_shards, STEPPED, timeout=3.0, beside=move)
    check(played, STEPPED)
    assert played.num_shards == num_shards


async def raising(error: Exception) -> None:
    raise error
