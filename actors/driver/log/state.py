"""The state that a log's records amount to: what a new driver goes on with."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hogwild_dist.actors.driver.log.records import (
    Cancelled,
    ChangeAsked,
    Forgotten,
    GroupStarted,
    LogRecord,
    SessionOpened,
    Shown,
)
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import Change
from hogwild_dist.session.events import SessionEnd

MOST_TOGETHER = 1_000
"""Updates in one record: whoever unpacks a record keeps other threads waiting."""


def batched(updates: Sequence[Update], count: int) -> Iterator[tuple[Update, ...]]:
    """Yield updates in parts of a number (`itertools.batched` of Python 3.12)."""
    for begin in range(0, len(updates), count):
        yield tuple(updates[begin : begin + count])


@dataclass(kw_only=True, slots=True)
class RestoredSession:
    """What a log says of one session.

    Attributes:
        opened: how the session was opened.
        changes: changes that were asked for, in their order.
        cancelled: why the session was cancelled, or None.
        updates: all updates, up to the session's end.
    """

    opened: SessionOpened
    changes: list[Change] = field(default_factory=list)
    cancelled: str | None = None
    updates: list[Update] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the session has ended."""
        return bool(self.updates) and _is_end(self.updates[-1])

    def records(self) -> Iterator[LogRecord]:
        """Yield the records from which the session is rebuilt."""
        session = self.opened.session
        yield self.opened
        for change in self.changes:
            yield ChangeAsked(session=session, change=change)
        if self.cancelled is not None:
            yield Cancelled(session=session, reason=self.cancelled)
        for updates in batched(self.updates, MOST_TOGETHER):
            yield Shown(updates=updates)


@dataclass(kw_only=True, slots=True)
class RestoredState:
    """What a log says of a group.

    Attributes:
        group: how the group was last started, or None if it never was.
        sessions: id of the session -> session, in the order of opening, without forgotten ones.
        last_session: highest id that a session ever had, also a forgotten one; 0 without sessions.
    """

    group: GroupStarted | None = None
    sessions: dict[int, RestoredSession] = field(default_factory=dict)
    last_session: int = 0

    def records(self) -> Iterator[LogRecord]:
        """Yield the records from which the state is rebuilt, for a compaction."""
        if self.group is not None:
            yield self.group
        for session in self.sessions.values():
            yield from session.records()
        if self.last_session and self.last_session not in self.sessions:
            yield Forgotten(sessions=(self.last_session,))


def rebuild(records: Iterable[LogRecord]) -> RestoredState:
    """Return the state after these records.

    What concerns sessions that are not known or no longer known is ignored, and so are updates of
    ended sessions.
    """
    state = RestoredState()
    for record in records:
        _apply(state, record)
    return state


def _apply(state: RestoredState, record: LogRecord) -> None:
    if isinstance(record, GroupStarted):
        state.group = record
    elif isinstance(record, SessionOpened):
        state.sessions[record.session] = RestoredSession(opened=record)
        state.last_session = max(state.last_session, record.session)
    elif isinstance(record, Shown):
        for update in record.updates:
            _show(state, update)
    elif isinstance(record, Forgotten):
        for session in record.sessions:
            state.sessions.pop(session, None)
            state.last_session = max(state.last_session, session)
    elif (known := state.sessions.get(record.session)) is None:
        return
    elif isinstance(record, ChangeAsked):
        known.changes.append(record.change)
    else:
        known.cancelled = record.reason


def _show(state: RestoredState, update: Update) -> None:
    session = state.sessions.get(update.session)
    if session is not None and not session.ended:
        session.updates.append(update)


def _is_end(update: Update) -> bool:
    return update.error is not None or any(isinstance(one, SessionEnd) for one in update.events)
