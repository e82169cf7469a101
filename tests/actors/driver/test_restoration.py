"""What is sent to new shards after all were lost, and when that is given up."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hogwild_dist.actors.driver import restoration as module
from hogwild_dist.actors.driver.journal import Journal, Owner
from hogwild_dist.actors.driver.restoration import MOST_VAIN, Restoration
from hogwild_dist.actors.errors import AllLostError, ClusterError
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Open
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import RemoveWorker
from hogwild_dist.session.events import SessionEnd, Text
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
    waiting, running, late = restored(books, Group())
    assert isinstance(waiting, Open)
    assert (waiting.session, waiting.replay, waiting.tenant) == (1, None, "one")
    assert isinstance(running, Open)
    assert running.replay is not None
    assert running.replay.tokens == {0: [7, 8]}
    assert running.replay.changes == [(1, LEAVE)]
    assert running.replay.num_steps == 2
    assert late == ApplyChange(session=2, change=LATER)


def test_a_session_that_was_cancelled_meanwhile_is_cancelled() -> None:
    books = journal()
    books.record(1).cancelled = "timeout"
    assert Cancel(session=1, reason="timeout") in restored(books, Group())


def test_what_is_shown_again_is_not_shown_twice() -> None:
    books, shown = journal(), list(journal().record(2).updates)
    restored(books, Group())
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
    for _ in range(MOST_VAIN):
        restoration.begin(AllLostError("gone"))
    books.add([wrote(1, 0, 4)])  # progress
    for _ in range(MOST_VAIN):
        restoration.begin(AllLostError("gone"))
    with pytest.raises(AllLostError, match="gone"):
        restoration.begin(AllLostError("gone"))
