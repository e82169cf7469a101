"""A group that loses shards writes what a group writes that loses none."""

import random
from functools import cache
from itertools import product

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import Open
from hogwild_dist.session.events import Event
from tests.exchange import grid
from tests.exchange.test_crowd import spec
from tests.faults.shards import Fault, Group, Played

pytestmark = pytest.mark.slow

SPECS = [spec(number) for number in range(3)]
LAYERED, STEPPED = Visibility.SAME_STEP, Visibility.NEXT_STEP
POINTS = {
    LAYERED: ("begin", "send_layer", "receive_layer", "post", "collect", "share"),
    STEPPED: ("begin", "post", "collect", "share"),
}


def play(num_shards: int, visibility: Visibility, *faults: Fault, timeout: float = 20.0) -> Played:
    group = Group(num_shards, visibility, faults, timeout)
    commands = [
        Open(session=number, spec=one, recorded=True) for number, one in enumerate(SPECS, start=1)
    ]
    try:
        return group.play(commands)
    finally:
        group.close()


@cache
def undisturbed(visibility: Visibility) -> list[list[Event]]:
    """What each session writes in one process."""
    played = [grid.alone(one, visibility, recorded=True) for one in SPECS]
    return [[event for update in one.updates for event in update.events] for one in played]


def check(played: Played, visibility: Visibility) -> None:
    found = [
        [event for update in played.updates if update.session == session for event in update.events]
        for session in range(1, len(SPECS) + 1)
    ]
    assert found == undisturbed(visibility)
    assert set(played.free_pages) == {grid.config(visibility).cache_tokens // 64}


def every_case() -> list[tuple[Visibility, Fault]]:
    """Every moment of an early, a middle and a late call, on the publishing shard and another."""
    return [
        (visibility, Fault(shard, point, call, after))
        for visibility in POINTS
        for shard, point, call, after in product(
            (0, 2), POINTS[visibility], (1, 4, 12), (False, True)
        )
        if point != "share" or call == 1
    ]


def some_cases(count: int) -> list[object]:
    """A few of them; the rest belongs to the full grid."""
    cases = every_case()
    chosen = set(random.Random(5).sample(range(len(cases)), count))
    return [
        pytest.param(*case, marks=() if at in chosen else pytest.mark.full_grid, id=name(*case))
        for at, case in enumerate(cases)
    ]


def name(visibility: Visibility, fault: Fault) -> str:
    moment = "after" if fault.after else "before"
    return f"{visibility.value}-{fault.shard}-{moment}-{fault.point}-{fault.call}"


@pytest.mark.parametrize("visibility", POINTS)
def test_without_faults(visibility: Visibility) -> None:
    played = play(3, visibility)
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (1, 3)
    assert played.checksums == [played.checksums[0]] * 3


@pytest.mark.parametrize(("visibility", "fault"), some_cases(10))
def test_a_shard_dies(visibility: Visibility, fault: Fault) -> None:
    played = play(3, visibility, fault)
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (2, 2)


@pytest.mark.parametrize("visibility", POINTS)
def test_shards_die_one_after_the_other_until_one_is_left(visibility: Visibility) -> None:
    played = play(3, visibility, Fault(0, "collect", 5), Fault(1, "post", 12, after=True))
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (3, 1)


def test_a_shard_dies_while_the_others_regroup() -> None:
    played = play(4, STEPPED, Fault(3, "post", 6), Fault(1, "join", 1))
    check(played, STEPPED)
    assert played.num_shards == 2


def test_a_shard_that_hangs_past_the_time_limit_is_left_behind() -> None:
    played = play(3, STEPPED, Fault(1, "collect", 6, kind="SIGSTOP"), timeout=3.0)
    check(played, STEPPED)
    assert (played.epoch, played.num_shards) == (2, 2)
