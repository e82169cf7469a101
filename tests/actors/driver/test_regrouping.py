"""The protocol of a regrouping, with members that answer, fail or are silent as a case says."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from hogwild_dist.actors.driver import regrouping
from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.regrouping import Formed, regroup
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.shard_runner import Opening, Standing
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ExchangeError, ShardError
from hogwild_dist.exchange.process_group import Membership

HOST = "127.0.0.1"


@dataclass(eq=False)
class Member:
    """A member that notes what it is told.

    Attributes:
        completed: number of completed rounds.
        busy: how often it says that it has not stopped yet.
        silent_from: number of the call from which on it does not answer.
        failed_forms: how often it does not meet the others.
        broken: whether its device has failed.
    """

    completed: int = 7
    busy: int = 0
    silent_from: int = 1_000
    failed_forms: int = 0
    broken: bool = False
    calls: list[tuple[str, Any]] = field(default_factory=list)

    async def call(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))
        if len(self.calls) >= self.silent_from:
            await asyncio.Event().wait()
        if method in {"freeze", "standing"}:
            stopped = self.busy == 0
            self.busy -= not stopped
            return Standing(completed=Progress(self.completed) if stopped else None, command=3)
        if method == "form" and self.broken:
            raise ShardError("The device failed.")
        if method == "form" and self.failed_forms:
            self.failed_forms -= 1
            raise ExchangeError("A peer did not come.")
        return None

    def told(self, method: str) -> list[Any]:
        return [arguments[0] for name, *arguments in self.calls if name == method]


def regrouped(*members: Member, publications: Publications | None = None) -> Formed[Member]:
    return asyncio.run(
        regroup(
            members,
            Member.call,
            epoch=4,
            publications=publications or Publications(),
            host=HOST,
            timeout_seconds=0.3,
        )
    )


def test_all_go_on_after_the_most_that_anyone_has_completed() -> None:
    ahead, behind = Member(completed=8, busy=3), Member()
    formed = regrouped(behind, ahead)
    assert (formed.epoch, formed.members, formed.commands) == (5, [behind, ahead], [3, 3])
    assert formed.completed == 8
    expected = Opening(epoch=5, completed=Progress(8), shown=0)
    assert ahead.told("open") == behind.told("open") == [expected]
    places: list[Membership] = [*behind.told("form"), *ahead.told("form")]
    assert [(place.epoch, place.rank, place.world_size) for place in places] == [
        (5, 0, 2),
        (5, 1, 2),
    ]


def test_what_was_shown_counts_as_completed() -> None:
    publications = Publications()
    update = Update(session=1, step=1, events=())
    publications.put(Publication(4, 1, Progress(8), (update,)))
    member = Member()
    regrouped(member, publications=publications)
    (opening,) = member.told("open")
    assert (opening.completed, opening.shown) == (Progress(8), 1)
    late = Publication(4, 2, Progress(9), (update,))
    assert publications.put(late) == []  # of a membership that is over


@pytest.mark.parametrize("silent_from", [1, 2])
def test_a_member_that_does_not_answer_is_left(silent_from: int) -> None:
    """Whether it is silent at once, or in the group in which the others wanted to meet it."""
    silent, other = Member(silent_from=silent_from), Member()
    formed = regrouped(silent, other)
    assert (formed.members, formed.epoch) == ([other], 4 + silent_from)


def test_a_member_that_does_not_stop_is_left() -> None:
    endless, other = Member(busy=10_000), Member()
    assert regrouped(endless, other).members == [other]


def test_a_member_whose_device_failed_is_left() -> None:
    broken, *others = Member(broken=True), Member(failed_forms=1), Member()
    formed = regrouped(broken, *others)
    assert (formed.members, formed.epoch) == (others, 6)


def test_members_that_fall_one_after_the_other_cost_no_other() -> None:
    falling = [Member(silent_from=calls) for calls in (1, 2, 4)]
    others = [Member(), Member()]
    formed = regrouped(*falling, *others)
    assert (formed.members, formed.epoch) == (others, 7)


def test_where_members_do_not_reach_each_other_the_first_goes_on_alone() -> None:
    first, second = Member(failed_forms=2), Member(failed_forms=2)
    formed = regrouped(first, second)
    assert (formed.members, formed.epoch) == ([first], 7)
    assert second.told("open") == []


def test_a_group_without_members_is_lost() -> None:
    with pytest.raises(ClusterError, match="No shard of the group is left"):
        regrouped(Member(silent_from=1))


def test_a_driver_that_was_stalled_hears_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regrouping, "ANSWER_SECONDS", 0.1)

    class Heard(Member):
        async def call(self, method: str, *arguments: Any) -> Any:
            answer = await super().call(method, *arguments)
            loop, heard = asyncio.get_running_loop(), asyncio.Event()
            if len(self.calls) == 1:
                telling = threading.Thread(target=loop.call_soon_threadsafe, args=(heard.set,))
                telling.start()
                telling.join()
                time.sleep(0.15)  # longer than an answer may take
                await heard.wait()
            return answer

    member = Heard()
    formed = asyncio.run(
        regroup(
            [member],
            Heard.call,
            epoch=4,
            publications=Publications(),
            host=HOST,
            timeout_seconds=0.3,
        )
    )
    assert (formed.members, formed.epoch) == ([member], 5)
