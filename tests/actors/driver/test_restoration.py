"""What is sent to new shards after all were lost, and when that is given up."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from hogwild_dist.actors.driver import restoration as module
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.lifecycle import Lifecycle
from hogwild_dist.actors.driver.restoration import MOST_VAIN, Restoration
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.actors.errors import AllLostError, ClusterError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Open
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ModelError
from hogwild_dist.session.changes import RemoveWorker
from hogwild_dist.session.events import Refused, SessionEnd, Text
from tests.actors.driver.test_journal import ORIGIN

LEAVE, LATER = RemoveWorker(name="Ann"), RemoveWorker(name="Bob")


def wrote(session: int, step: int, token: int) -> Update:
    text = Text(step=step, worker=0, name="Ann", token_ids=(token,), text="a")
    return Update(session=session, step=step, events=(text,))


class Group:
    """New shards; `refused` says which numbers of them cannot be started."""

    def __init__(self, *refused: int) -> None:
        self.refused, self.started, self.sent = refused, [], []
        self.shards = SimpleNamespace(release=lambda: None)
        self.sender = SimpleNamespace(send=self.sent.append)
        self.scaling = SimpleNamespace(wake=lambda: None)

    async def start(self, count: int) -> None:
        self.started.append(count)
        if count in self.refused:
            raise ClusterError("There is no room.")


def journal() -> Journal:
    """A session that waits, one that has written and been changed, and one that has ended."""
    found = Journal(kept=5)
    for session in (1, 2, 3):
        found.begin(session, ORIGIN, Owner(tenant="one"), recorded=False)
    found.record(2).changes += [LEAVE, LATER]
    changed = Update(session=2, step=0, events=(), change=LEAVE)
    end = Update(session=3, step=0, events=(SessionEnd(step=1, reason="cancelled"),))
    found.add([wrote(2, 0, 7), changed, wrote(2, 1, 8), end])
    return found


def restored(books: Journal, group: Any) -> list[Command]:
    restoration = Restoration(books)
    restoration.begin(AllLostError("gone"))
    assert restoration.active
    asyncio.run(restoration.start(group, 3))
    assert not restoration.active
    return list(group.sent)


def test_open_sessions_are_sent_with_what_they_have_shown() -> None:
    books = journal()
    running, late = restored(books, Group())
    assert isinstance(running, Open)
    assert (running.session, running.tenant) == (2, "one")
    assert running.replay is not None
    assert running.replay.tokens == {0: [7, 8]}
    assert running.replay.changes == [(1, "before", LEAVE)]
    assert running.replay.num_steps == 2
    assert late == ApplyChange(session=2, change=LATER)


def test_sessions_that_wait_come_after_all_replays() -> None:
    """Which need the room that they had."""
    books, group = journal(), Group()
    restoration = Restoration(books)
    restoration.begin(AllLostError("gone"))
    asyncio.run(restoration.start(group, 3))  # type: ignore[arg-type]
    books.begin(4, ORIGIN, Owner(), recorded=False)
    new = Open(session=4, spec=ORIGIN.spec, recorded=False)
    assert restoration.holds(new)
    assert restoration.holds(Cancel(session=1))
    assert not restoration.holds(Cancel(session=2))
    books.record(1).cancelled = "timeout"
    group.sent.clear()
    for update in list(books.record(2).expected):
        restoration.go_on(group)  # type: ignore[arg-type]
        assert not group.sent
        books.add([update])
    restoration.go_on(group)  # type: ignore[arg-type]
    first, end, last = group.sent
    assert (first.session, first.replay, end) == (1, None, Cancel(session=1, reason="timeout"))
    assert last == new
    assert not restoration.holds(Cancel(session=1))


def test_a_session_that_was_cancelled_meanwhile_is_cancelled() -> None:
    books = journal()
    books.record(2).cancelled = "timeout"
    assert Cancel(session=2, reason="timeout") in restored(books, Group())


def test_a_change_that_was_refused_is_not_asked_for_again() -> None:
    books, refused = journal(), Refused(step=1, reason="There is no room.", change="leave")
    books.add([Update(session=2, step=1, events=(refused,), change=LATER), wrote(2, 2, 9)])
    (running,) = restored(books, Group())
    assert isinstance(running, Open)
    assert running.replay is not None
    assert [change for *_, change in running.replay.changes] == [LEAVE]
    assert books.record(2).expected[-1] == wrote(2, 2, 9)
    assert not any(update.refused for update in books.record(2).expected)


def test_what_is_shown_again_is_not_shown_twice() -> None:
    books, shown = journal(), list(journal().record(2).updates)
    assert books.last_token > 0
    restored(books, Group())
    assert books.last_token < 0  # the group is proven when it writes again
    books.add([*shown, wrote(2, 2, 9)])
    assert books.record(2).updates == [*shown, wrote(2, 2, 9)]
    assert books.record(2).error is None


def test_a_session_that_comes_out_differently_fails_alone() -> None:
    books = journal()
    restored(books, Group())
    assert books.add([wrote(2, 0, 5), wrote(1, 0, 5)]) == [2]
    assert books.add([wrote(2, 1, 5)]) == []
    assert "step 0 came out differently" in str(books.record(2).error)
    assert books.record(1).error is None
    assert len(books.record(1).updates) == 1


def test_fewer_shards_are_better_than_none() -> None:
    group = Group(3)
    assert restored(journal(), group)
    assert group.started == [3, 1]


def test_it_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_SECONDS", -1.0)
    with pytest.raises(ClusterError, match="There is no room"):
        restored(journal(), Group(3, 1))


def test_it_is_given_up_when_nothing_comes_of_it() -> None:
    books = journal()
    restoration = Restoration(books)

    def lose(times: int) -> None:
        for _ in range(times):
            restoration.begin(AllLostError("gone"))
            asyncio.run(restoration.start(Group(), 3))  # type: ignore[arg-type]

    lose(MOST_VAIN)
    books.record(2).expected.clear()
    books.add([wrote(2, 2, 4)])  # progress
    lose(MOST_VAIN)
    with pytest.raises(AllLostError, match="gone"):
        lose(1)


def test_losses_far_apart_are_not_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VAIN_SECONDS", 0.0)
    restoration = Restoration(Journal(kept=0))
    for _ in range(3 * MOST_VAIN):
        restoration.begin(AllLostError("gone"))
        asyncio.run(restoration.start(Group(), 3))  # type: ignore[arg-type]


def test_a_model_that_is_gone_is_not_waited_for() -> None:
    class Missing(Group):
        async def start(self, _: int) -> None:
            raise ModelError("There is no model.")

    with pytest.raises(ModelError):
        restored(journal(), Missing())


def test_nobody_has_to_read_a_session_while_it_is_replayed() -> None:
    """The lease begins when there is something to read again."""
    books, cancelled = journal(), []
    settings = GroupSettings(num_shards=1, shard=ShardSettings(model="none"), lease_seconds=0.01)

    def cancel(session: int, reason: str) -> None:
        cancelled.append((session, reason))

    lifecycle = Lifecycle(settings, books, cancel, no_end)
    restored(books, Group())
    record, late = books.record(2), time.monotonic() + 5.0
    record.last_read = late - 100.0
    lifecycle._cancel_sessions(late)
    assert (2, "cancelled") not in cancelled
    books.add(list(record.expected))
    assert not record.abandoned(settings.lease_seconds)
    record.last_read -= 100.0
    lifecycle._cancel_sessions(late)
    assert (2, "cancelled") in cancelled


async def no_end() -> None:
    """A group that does not end."""


def test_a_list_of_sessions_tells_how_far_a_replay_is() -> None:
    books = journal()
    assert books.record(2).summary().replayed is None
    restored(books, Group())
    first, *rest = list(books.record(2).expected)
    assert books.record(2).summary().replayed == 0
    books.add([first, rest[0]])
    assert books.record(2).summary().replayed == 1
    books.add(rest[1:])
    assert books.record(2).summary().replayed is None
