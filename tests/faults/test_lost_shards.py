"""A group that loses shards writes what a group writes that loses none."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import ApplyChange, Inbox, Open
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import AddWorker, Interjection
from hogwild_dist.session.events import Event
from tests.exchange import grid
from tests.exchange.test_crowd import spec
from tests.faults import group
from tests.faults.group import Group, Played
from tests.faults.injector import SPOILT, Fault

pytestmark = pytest.mark.slow

SPECS = [spec(number) for number in range(3)]
ASKED = grid.Case(4, 3, "combined", Visibility.SAME_STEP, greedy=False).spec()
"""Its finisher states an answer at two budgets and at the end."""

NEWCOMER = replace(
    ASKED.workers[0], name="Zoe", view=("common", "others", "own"), newcomers_at=None
)
MESSAGE = Interjection(name="You", text="Hi!", token_ids=(40, 41, 5), target="common")
COMMANDS = [
    *(Open(session=number, spec=one, recorded=True) for number, one in enumerate(SPECS, start=1)),
    Open(session=4, spec=ASKED, recorded=False),
    ApplyChange(session=4, change=AddWorker(worker=NEWCOMER, announcement=MESSAGE)),
    ApplyChange(session=4, change=MESSAGE),
]
"""Prompts are encoded, paragraphs move, a worker joins and a finisher writes."""

LAYERED, STEPPED = Visibility.SAME_STEP, Visibility.NEXT_STEP
POINTS = {
    LAYERED: ("begin", "send_layer", "receive_layer", "post", "collect", "share"),
    STEPPED: ("begin", "post", "collect", "share"),
}


async def nothing(_: Group) -> None:
    """Nothing happens beside the sessions."""


def play(
    num_shards: int,
    visibility: Visibility,
    *faults: Fault,
    timeout: float = 20.0,
    beside: Callable[[Group], Any] = nothing,
) -> Played:
    by_shard = [[one for one in faults if one.shard == rank] for rank in range(num_shards)]
    return group.play(COMMANDS, visibility, by_shard, timeout, beside)


@cache
def undisturbed(visibility: Visibility) -> list[list[Event]]:
    """What each session writes in one process."""
    inbox, seen = Inbox(), []
    for number, command in enumerate(COMMANDS, start=1):
        inbox.put(number, command)
    ShardLoop(grid.new_engine(visibility), inbox, seen.extend).run()
    return by_session(seen)


def by_session(updates: list[Update]) -> list[list[Event]]:
    return [
        [event for update in updates if update.session == session for event in update.events]
        for session in range(1, 5)
    ]


def check(played: Played, visibility: Visibility) -> None:
    assert by_session(played.updates) == undisturbed(visibility)
    assert set(played.free_pages) == {grid.config(visibility).cache_tokens // 64}
    records = [update.record for update in played.updates if update.session == 1]
    assert [record is None for record in records] == [True] + [False] * (len(records) - 1)


def every_case() -> list[tuple[Visibility, Fault]]:
    """Every moment of an early, a middle and a late call, on the publishing shard and another."""
    return [
        (visibility, Fault(shard, point, call, after))
        for visibility in POINTS
        for shard, point, call, after in product(
            (0, 2), POINTS[visibility], (1, 4, 12), (False, True)
        )
        if point != "share" or call <= 4
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


@pytest.mark.parametrize(("visibility", "fault"), some_cases(6))
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
    assert played.num_shards == 2
    assert played.epoch >= 2  # on a busy machine, a shard may be late as well


def test_a_shard_that_hangs_short_of_the_time_limit_costs_nothing() -> None:
    async def wake_later(group: Group) -> None:
        await asyncio.to_thread(wake, group.members[1].process.pid)

    fault = Fault(1, "collect", 6, kind="SIGSTOP")
    played = play(3, STEPPED, fault, timeout=20.0, beside=wake_later)
    check(played, STEPPED)
    assert (played.epoch, played.num_shards) == (1, 3)


def wake(pid: int) -> None:
    """Let a process go on as soon as it has been stopped."""
    status = Path(f"/proc/{pid}/stat")
    while status.read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("point", ["collect", "share"])
def test_a_shard_with_an_error_of_its_own_is_left_behind(point: str) -> None:
    played = play(3, LAYERED, Fault(2, point, 2, kind="error"))
    check(played, LAYERED)
    assert (played.epoch, played.num_shards) == (2, 2)


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("visibility", POINTS)
def test_a_header_that_cannot_be_used_costs_no_shard(visibility: Visibility, how: str) -> None:
    played = play(3, visibility, Fault(1, "post", 9, kind=how))
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (2, 3)


@pytest.mark.parametrize("visibility", POINTS)
def test_a_shard_whose_connections_are_cut_comes_back(visibility: Visibility) -> None:
    played = play(3, visibility, Fault(1, "collect", 7, kind="disconnect"))
    check(played, visibility)
    assert played.num_shards == 3
    assert played.epoch >= 2


@pytest.mark.parametrize("visibility", POINTS)
def test_a_slow_link_costs_nothing_but_time(visibility: Visibility) -> None:
    played = play(3, visibility, Fault(1, "begin", 7, kind="slow"))
    check(played, visibility)
    assert (played.epoch, played.num_shards) == (1, 3)
