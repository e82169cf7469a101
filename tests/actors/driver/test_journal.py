"""What a driver remembers of its sessions."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist import LAYOUTS
from hogwild_dist.actors.driver import journal as module
from hogwild_dist.actors.driver.journal import MOST_PENDING, MOST_READ, Journal
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.actors.driver.sizes import bytes_of
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.changes import RemoveWorker
from hogwild_dist.session.events import Event, Joined, Refused, SessionEnd, Text
from hogwild_dist.team.session_request import SessionRequest
from tests.actors.client.test_shard_group import team
from tests.tiny_tokenizer import byte_tokenizer

TEAM = team(1, LAYOUTS["independent"])
ORIGIN = SessionRequest(problem="Count!", team=TEAM, spec=TEAM.spec("Count!", byte_tokenizer()))
WORD = Text(step=0, worker=0, name="Alice", token_ids=(1,), text="one", chosen=True)
END = SessionEnd(step=1, reason="all_stopped")


def begin(journal: Journal, session: int, owner: Owner | None = None) -> None:
    journal.begin(session, ORIGIN, owner or Owner(), recorded=False)


def update(session: int, *events: Event) -> list[Update]:
    return [Update(session=session, step=0, events=events)]


def test_the_session_that_ended_first_is_forgotten_first() -> None:
    journal = Journal(kept=2)
    for session in (1, 2, 3, 4):
        begin(journal, session)
    for session in (2, 3, 4, 1):
        journal.add(update(session, END))
        journal.add(update(session, WORD))  # comes late, and ends nothing again
    begin(journal, 5)
    assert list(journal.records) == [1, 4, 5]
    journal.fail("lost")
    begin(journal, 6)
    assert list(journal.records) == [1, 5, 6]


def test_a_session_can_be_forgotten_at_any_time() -> None:
    journal = Journal(kept=2)
    for session in (1, 2, 3):
        begin(journal, session)
    journal.add(update(1, END))
    journal.forget(1)
    journal.forget(2)
    journal.add(update(2, WORD))  # comes late, and is ignored
    with pytest.raises(ConfigError, match="There is no session 2; known sessions: 3"):
        journal.forget(2)
    journal.add(update(3, END))
    for session in (4, 5, 6, 7):
        begin(journal, session)
        journal.add(update(session, END))
    begin(journal, 8)
    assert list(journal.records) == [6, 7, 8]


def test_readers_of_a_session_that_is_forgotten_are_told() -> None:
    async def read() -> tuple[list[Update], bool]:
        journal = Journal(kept=2)
        begin(journal, 1)
        record = journal.record(1)
        reading = asyncio.create_task(journal.read(1, 0, 60.0))
        while not record.readers:
            await asyncio.sleep(0)
        journal.forget(1)
        assert record.error == "The session was deleted."
        return await reading

    assert asyncio.run(read()) == ([], True)


def test_a_snapshot_does_not_change_with_its_session() -> None:
    journal = Journal(kept=0)
    begin(journal, 1)
    journal.add(update(1, WORD))
    snapshot = journal.snapshot(1)
    journal.add(update(1, WORD))
    assert (snapshot.cursor, snapshot.transcript.texts[WORD.name]) == (1, "one")


JOINED = Joined(step=1, worker=1, name="Dan")
REFUSED = Refused(step=1, reason="There is no room.", change="join")


@pytest.mark.parametrize("news", [JOINED, REFUSED])
def test_workers_join_one_at_a_time_where_that_is_asked(news: Event) -> None:
    journal = Journal(kept=0)
    begin(journal, 1)
    journal.expect_join(1, exclusive=True)
    journal.add(update(1, WORD))
    with pytest.raises(ConfigError, match="Another worker is joining session 1; try again once"):
        journal.expect_join(1, exclusive=True)
    journal.add(update(1, news))
    journal.expect_join(1, exclusive=True)


@given(st.lists(st.sampled_from(["ask", "joined", "refused", "other"]), max_size=30))
def test_a_worker_joins_alone_once_all_that_were_asked_have_joined_or_not(
    script: list[str],
) -> None:
    journal = Journal(kept=0)
    begin(journal, 1)
    waiting = 0
    for what in script:
        if what == "ask":
            journal.expect_join(1, exclusive=False)
            waiting += 1
        elif what == "other":
            journal.add(
                update(1, Refused(step=1, reason="There is no such block.", change="leave"))
            )
        elif waiting:
            journal.add(update(1, JOINED if what == "joined" else REFUSED))
            waiting -= 1
        if waiting:
            with pytest.raises(ConfigError, match="Another worker is joining session 1"):
                journal.expect_join(1, exclusive=True)
    for _ in range(waiting):
        journal.add(update(1, JOINED))
    journal.expect_join(1, exclusive=True)


def test_fewer_ended_sessions_are_kept_when_they_are_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "READING_SECONDS", 0.0)
    journal = Journal(kept=10, kept_bytes=3 * bytes_of(update(1, WORD)[0]))
    for session in (1, 2):
        begin(journal, session)
        journal.add(update(session, WORD))
        journal.add(update(session, END))
    assert list(journal.records) == [1, 2]  # what has just ended can be read
    begin(journal, 3)
    assert list(journal.records) == [2, 3]
    for _ in range(9):
        journal.add(update(3, WORD))
    begin(journal, 4)
    assert list(journal.records) == [3, 4]  # open sessions stay, however large
    monkeypatch.setattr(module, "READING_SECONDS", 10.0)
    journal.add(update(4, END))
    begin(journal, 5)
    assert list(journal.records) == [3, 4, 5]  # somebody may be reading the one that has ended


def test_a_slow_reader_is_given_a_part_at_a_time() -> None:
    journal = Journal(kept=1)
    begin(journal, 1)
    journal.add([*update(1, WORD) * (2 * MOST_READ), *update(1, END)])

    async def read() -> list[tuple[int, bool]]:
        cursor, parts, ended = 0, [], False
        while not ended:
            some, ended = await journal.read(1, cursor, 1.0)
            cursor += len(some)
            parts.append((len(some), ended))
        return parts

    assert asyncio.run(read()) == [(MOST_READ, False), (MOST_READ, False), (1, True)]


def test_changes_that_wait_are_limited() -> None:
    journal = Journal(kept=1)
    begin(journal, 1)
    leave = RemoveWorker(name="Ann")
    for _ in range(MOST_PENDING):
        journal.check_pending(1)
        journal.ask(1, leave)
    with pytest.raises(ConfigError, match=f"{MOST_PENDING} changes wait for session 1; try again"):
        journal.check_pending(1)
    journal.add([Update(session=1, step=0, events=(), change=leave)])
    journal.check_pending(1)
