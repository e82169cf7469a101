"""A log amounts to what the driver's journal held when it was written."""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist import LAYOUTS
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.log.erasure import without_forgotten
from hogwild_dist.actors.driver.log.records import (
    Cancelled,
    ChangeAsked,
    Forgotten,
    GroupStarted,
    LogRecord,
    SessionOpened,
    Shown,
    decode,
    encode,
)
from hogwild_dist.actors.driver.log.state import RestoredState, rebuild
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import SessionError
from hogwild_dist.session.changes import RemoveWorker
from hogwild_dist.session.events import Event, SessionEnd, Text
from hogwild_dist.team.session_request import SessionRequest
from tests.actors.client.test_shard_group import team
from tests.tiny_tokenizer import byte_tokenizer

WORD = Text(step=0, worker=0, name="Alice", token_ids=(1,), text="one")
END = SessionEnd(step=1, reason="all_stopped")
GROUP = GroupStarted(settings={}, configuration={"weights": "a"})
OWNERS = (Owner(), Owner(tenant="b", seconds=3.5), Owner(kept=False))


@cache
def request() -> SessionRequest:
    one = team(1, LAYOUTS["independent"])
    return SessionRequest(problem="Count!", team=one, spec=one.spec("Count!", byte_tokenizer()))


def opened(session: int) -> SessionOpened:
    owner = OWNERS[session % 3]
    return SessionOpened(
        session=session, request=request(), owner=owner, recorded=False, started=5.0
    )


def shown(session: int, *events: Event, step: int = 0) -> Shown:
    return Shown(updates=(Update(session=session, step=step, events=events),))


def test_nothing_amounts_to_nothing() -> None:
    assert rebuild([]) == RestoredState(group=None, sessions={}, last_session=0)
    assert list(rebuild([]).records()) == []


def test_the_last_start_of_the_group_counts() -> None:
    second = GroupStarted(settings={}, configuration={"weights": "b"})
    state = rebuild([GROUP, opened(1), second])
    assert state.group == second
    assert list(state.sessions) == [1]


def test_what_happened_to_a_session_is_kept_in_order() -> None:
    leave, again = RemoveWorker(name="Ann"), RemoveWorker(name="Ben")
    updates = [Update(session=1, step=step, events=(WORD,)) for step in range(3)]
    other = Update(session=2, step=0, events=(WORD,))
    state = rebuild(
        [
            opened(1),
            Shown(updates=(updates[0],)),
            ChangeAsked(session=1, change=leave),
            opened(2),
            Shown(updates=(updates[1], other, updates[2])),
            ChangeAsked(session=1, change=again),
            Cancelled(session=1, reason="timeout"),
        ]
    )
    session = state.sessions[1]
    assert (session.opened, session.updates) == (opened(1), updates)
    assert (session.changes, session.cancelled) == ([leave, again], "timeout")
    assert state.sessions[2].updates == [other]
    assert rebuild(state.records()) == state
    assert not session.ended


@pytest.mark.parametrize(
    "end",
    [
        Update(session=1, step=1, events=(WORD, END)),
        Update(session=1, step=1, events=(), error=SessionError("It failed.")),
    ],
)
def test_updates_after_the_end_are_ignored(end: Update) -> None:
    before = Update(session=1, step=0, events=(WORD,))
    state = rebuild([opened(1), Shown(updates=(before, end, before)), shown(1, END)])
    assert state.sessions[1].updates == [before, end]
    assert state.sessions[1].ended


def test_forgotten_sessions_keep_their_numbers() -> None:
    state = rebuild(
        [
            opened(1),
            opened(2),
            opened(3),
            Forgotten(sessions=(3, 1)),
            shown(3, WORD),
            ChangeAsked(session=3, change=RemoveWorker(name="Ann")),
            Cancelled(session=1, reason="timeout"),
            Forgotten(sessions=(3,)),
        ]
    )
    assert (list(state.sessions), state.last_session) == ([2], 3)
    assert rebuild([Forgotten(sessions=(9,))]).last_session == 9


ids = st.integers(1, 6)
any_record = st.one_of(
    st.just(GROUP),
    st.builds(ChangeAsked, session=ids, change=st.builds(RemoveWorker, name=st.text())),
    st.builds(Cancelled, session=ids, reason=st.text()),
    st.builds(Forgotten, sessions=st.lists(ids).map(tuple)),
    st.builds(shown, ids, st.sampled_from([WORD, END]), step=st.integers(0, 99)),
    st.builds(opened, ids),
)
some_records = st.lists(any_record, max_size=30)
together = st.lists(st.builds(Update, session=ids, step=ids, events=st.just((WORD,)))).map(
    lambda updates: Shown(updates=tuple(updates))
)


@given(some_records, some_records)
def test_a_compaction_changes_nothing(before: list[LogRecord], after: list[LogRecord]) -> None:
    state = rebuild(before)
    compacted = decode(b"".join(map(encode, state.records())), "000001.log")
    assert rebuild(compacted) == state
    assert rebuild([*compacted, *after]) == rebuild([*before, *after])


@given(st.lists(st.lists(st.one_of(any_record, together), max_size=10), max_size=3))
def test_an_erasure_leaves_nothing_of_forgotten_sessions_but_their_numbers(
    batches: list[list[LogRecord]],
) -> None:
    """A number is not used again: what concerns a forgotten session came before, or is ignored."""
    payloads = [b"".join(map(encode, records)) for records in batches]
    erased = without_forgotten(payloads)
    told = [record for records in batches for record in records]
    gone = {one for record in told if isinstance(record, Forgotten) for one in record.sessions}
    state = rebuild(record for record in told if not isinstance(record, Forgotten))
    for session in gone:
        state.sessions.pop(session, None)
    state.last_session = max(state.last_session, *gone, 0)
    left = decode(erased, "000001.log")
    assert rebuild(left) == state
    assert not gone & {one for record in left for one in concerned(record)}
    assert without_forgotten([erased]) == erased


def concerned(record: LogRecord) -> set[int]:
    """Sessions of which a record tells more than their numbers."""
    if isinstance(record, Shown):
        return {update.session for update in record.updates}
    return set() if isinstance(record, GroupStarted | Forgotten) else {record.session}


@given(st.lists(st.tuples(st.sampled_from(["open", "word", "end", "ask", "cancel"]), ids)))
def test_the_state_is_that_of_the_journal(script: list[tuple[str, int]]) -> None:
    """A driver that keeps two ended sessions logs what it does to its journal."""
    journal, records = Journal(kept=2), list[LogRecord]()
    records.extend(played(journal, script))
    state = rebuild(records)
    assert set(state.sessions) == set(journal.records)
    for session, record in journal.records.items():
        found = state.sessions[session]
        assert (found.updates, found.ended) == (record.updates, record.ended)
        assert (found.changes, found.cancelled) == (record.changes, record.cancelled)


def played(journal: Journal, script: list[tuple[str, int]]) -> Iterator[LogRecord]:
    """What a driver logs while it does what the script says."""
    num_opened = 0
    for what, number in script:
        known = set(journal.records)
        if what == "open":
            num_opened += 1
            yield opened(num_opened)
            journal.begin(num_opened, request(), OWNERS[num_opened % 3], recorded=False)
            if gone := known - set(journal.records):
                yield Forgotten(sessions=tuple(gone))
        elif number not in known:
            continue
        elif what in {"word", "end"}:
            news = shown(number, WORD if what == "word" else END)
            if not journal.records[number].ended:
                yield news
                journal.add(news.updates)
            if number not in journal.records:
                yield Forgotten(sessions=(number,))
        elif what == "ask":
            change = RemoveWorker(name="Ann")
            yield ChangeAsked(session=number, change=change)
            journal.records[number].changes.append(change)
        else:
            yield Cancelled(session=number, reason="cancelled")
            journal.records[number].cancelled = "cancelled"
