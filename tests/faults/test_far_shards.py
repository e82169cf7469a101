"""A shard behind a link of its own: slow, or cut without a word."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import group
from tests.faults.far_host import NEAR, FarHost
from tests.faults.group import Group, Played
from tests.faults.processes import Home
from tests.faults.test_lost_shards import COMMANDS, POINTS, STEPPED, check
from tests.network.two_hosts import obstacle

WHY = obstacle()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WHY is not None, reason=str(WHY)),
]


@pytest.fixture
def far() -> Iterator[FarHost]:
    with FarHost().up() as host:
        yield host


def play(far: FarHost, visibility: Any, timeout: float, beside: Any) -> Played:
    """Two shards beside the driver, and a third one that is far."""
    homes = [Home(NEAR), Home(NEAR), far.home]
    return group.play(COMMANDS, visibility, [()] * 3, timeout, beside, NEAR, homes)


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("visibility", POINTS)
def test_a_slow_link_changes_no_token(far: FarHost, visibility: Any) -> None:
    async def slow_down(_: Group) -> None:
        far.slow_down()

    played = play(far, visibility, 20.0, slow_down)
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (1, 3)


@pytest.mark.parametrize("visibility", POINTS)
def test_a_shard_that_nobody_reaches_is_left_behind(far: FarHost, visibility: Any) -> None:
    async def cut(playing: Group) -> None:
        await playing.until(20)
        playing.members[2].call = never  # type: ignore[method-assign, assignment]
        far.cut()

    played = play(far, visibility, 3.0, cut)
    check(played, visibility)
    assert played.num_shards <= 2  # on a busy machine, another one may be late as well


def test_a_shard_that_only_the_driver_reaches_does_not_stop_the_group(far: FarHost) -> None:
    async def cut(playing: Group) -> None:
        await playing.until(20)
        far.cut()

    played = play(far, STEPPED, 2.0, cut)
    check(played, STEPPED)
    assert played.num_shards <= 2
