"""The journal of a driver: every update of every session, for clients to read from the start."""

import asyncio
import contextlib
import copy
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, SessionError
from hogwild_dist.run.transcript import Transcript
from hogwild_dist.session.changes import AddWorker, Change
from hogwild_dist.session.events import Joined, Refused, Text
from hogwild_dist.team.session_request import SessionRequest

LABEL_CHARS = 60

HEALTH = "(health)"
"""Tenant of health probes; no service key can have this name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Owner of a session, and the limits that come with ownership.

    Attributes:
        tenant: name of the tenant; waiting sessions start in turn by tenant.
        secret: secret that a service's client needs to read the session.
        leased: whether to cancel the session when no client reads it any more.
        seconds: time limit of the session; None is no limit.
        kept: whether the session can be read after its end.
    """

    tenant: str = ""
    secret: str = ""
    leased: bool = True
    seconds: float | None = None
    kept: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSummary:
    """Short description of a session, for lists.

    Attributes:
        id: id of the session.
        label: beginning of the problem.
        workers: names of the workers.
        num_tokens: tokens chosen so far by all workers.
        num_steps: steps so far.
        started: time of opening, in seconds since the Unix epoch.
        end_reason: why the session ended, None while it is running.
        error: error that ended the session, if any.
        tenant: name of the tenant.
        begun: whether the session has started and is no longer waiting.
    """

    id: int
    label: str
    workers: tuple[str, ...]
    num_tokens: int
    num_steps: int
    started: float
    end_reason: str | None
    error: str | None
    tenant: str
    begun: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSnapshot:
    """State of a session at one time, without its single updates.

    Attributes:
        summary: short description of the session.
        owner: owner of the session.
        origin: request that opened the session.
        transcript: transcript so far.
        recorded: whether the session's updates contain trace records.
        cursor: number of updates so far.
        ahead: number of waiting sessions opened earlier; 0 once the session has started.
    """

    summary: SessionSummary
    owner: Owner
    origin: SessionRequest
    transcript: Transcript
    recorded: bool
    cursor: int
    ahead: int


@dataclass(slots=True)
class Record:
    """The journal's record of one session.

    Attributes:
        id: id of the session.
        request: request that opened the session.
        owner: owner of the session.
        recorded: whether the session's updates contain trace records.
        transcript: transcript so far.
        updates: all updates so far.
        num_steps: number of steps so far.
        error: error that ended the session, if any.
        changed: event that is set, and replaced, on every change.
        readers: number of clients now waiting for updates.
        last_read: time when a client last read updates, by the monotonic clock.
        started: time of opening, in seconds since the Unix epoch.
        opened: time of opening, by the monotonic clock.
        cancelled: why the session was cancelled, or None.
        num_joining: workers that were asked to join and have neither joined nor been refused yet.
        changes: changes that were asked for, in their order.
        expected: updates that a replay of the session is to show again, and has not yet.
    """

    id: int
    request: SessionRequest
    owner: Owner
    recorded: bool
    transcript: Transcript
    updates: list[Update] = field(default_factory=list)
    num_steps: int = 0
    error: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0
    last_read: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.time)
    opened: float = field(default_factory=time.monotonic)
    cancelled: str | None = None
    num_joining: int = 0
    changes: list[Change] = field(default_factory=list)
    expected: deque[Update] = field(default_factory=deque)

    @property
    def ended(self) -> bool:
        """Whether the session has ended and gets no more updates."""
        return self.error is not None or self.transcript.end_reason is not None

    @property
    def waiting(self) -> bool:
        """Whether the session has not started yet."""
        return not self.updates and not self.ended

    @property
    def pending_changes(self) -> list[Change]:
        """Changes that were asked for and not made yet."""
        return self.changes[sum(update.change is not None for update in self.updates) :]

    def expect_changes(self, changes: Sequence[Change]) -> None:
        """Take over the changes that were asked of an earlier driver."""
        self.changes = list(changes)
        self.num_joining = sum(isinstance(one, AddWorker) for one in self.pending_changes)

    def notify(self) -> None:
        """Wake all waiting readers."""
        self.changed.set()
        self.changed = asyncio.Event()

    def abandoned(self, seconds: float) -> bool:
        """Whether no client has read updates for `seconds`."""
        return not self.readers and time.monotonic() > self.last_read + seconds

    def overdue(self, now: float) -> bool:
        """Whether the time limit has passed at `now`, by the monotonic clock."""
        return self.owner.seconds is not None and now > self.opened + self.owner.seconds

    def snapshot(self, ahead: int) -> SessionSnapshot:
        """Return the session's state; later updates do not change it.

        Args:
            ahead: number of waiting sessions opened earlier.
        """
        return SessionSnapshot(
            summary=self.summary(),
            owner=self.owner,
            origin=self.request,
            transcript=copy.deepcopy(self.transcript),
            recorded=self.recorded,
            cursor=len(self.updates),
            ahead=ahead,
        )

    def summary(self) -> SessionSummary:
        """Return a short description of the session."""
        return SessionSummary(
            id=self.id,
            label=self.request.problem[:LABEL_CHARS],
            workers=tuple(self.transcript.names),
            num_tokens=sum(self.transcript.num_tokens.values()),
            num_steps=self.num_steps,
            started=self.started,
            end_reason=self.transcript.end_reason,
            error=self.error,
            tenant=self.owner.tenant,
            begun=bool(self.updates),
        )


class JournalObserver(Protocol):
    """What is told of everything that a journal takes in."""

    def opened(self, record: Record) -> None:
        """Note that a session was opened."""

    def asked(self, session: int, change: Change) -> None:
        """Note that a change was asked for."""

    def cancelled(self, session: int, reason: str) -> None:
        """Note that a session was cancelled."""

    def shown(self, updates: Sequence[Update]) -> None:
        """Note that updates became readable."""

    def forgotten(self, session: int) -> None:
        """Note that a session can no longer be read."""


class Journal:
    """All sessions of a driver, in the order of opening.

    Args:
        kept: number of ended sessions that can still be read.

    Attributes:
        records: session id -> record.
        last_token: time when a worker last chose a token, by the monotonic clock.
        num_shown: number of updates so far, of all sessions.
        observer: told of everything that the journal takes in, or None.
    """

    def __init__(self, kept: int) -> None:
        self._num_kept = kept
        self._ended: deque[int] = deque()
        """Ids of ended sessions that can still be read, in the order of their end."""
        self.records: dict[int, Record] = {}
        self.last_token = -math.inf
        self.num_shown = 0
        self.observer: JournalObserver | None = None

    @property
    def open_records(self) -> list[Record]:
        """Records of sessions that have not ended."""
        return [record for record in self.records.values() if not record.ended]

    @property
    def client_records(self) -> list[Record]:
        """Records of sessions that have not ended, without health probes."""
        return [record for record in self.open_records if record.owner.tenant != HEALTH]

    def record(self, session: int) -> Record:
        """Return the record of a session.

        Raises:
            ConfigError: there is no such session.
        """
        if session not in self.records:
            known = ", ".join(map(str, self.records)) or "none"
            raise ConfigError(f"There is no session {session}; known sessions: {known}.")
        return self.records[session]

    def snapshot(self, session: int) -> SessionSnapshot:
        """Return the state of a session, without its single updates.

        Raises:
            ConfigError: there is no such session.
        """
        record = self.record(session)
        waiting = [record.id for record in self.open_records if record.waiting]
        ahead = waiting.index(session) if session in waiting else 0
        return record.snapshot(ahead)

    def begin(self, session: int, request: SessionRequest, owner: Owner, *, recorded: bool) -> None:
        """Add a session, and drop the sessions that ended first if too many are kept."""
        names = tuple(worker.name for worker in request.spec.workers)
        record = Record(session, request, owner, recorded, Transcript(names))
        self.records[session] = record
        if self.observer is not None:
            self.observer.opened(record)
        while len(self._ended) > self._num_kept:
            self._forget(self._ended.popleft())

    def add(self, updates: Sequence[Update]) -> list[int]:
        """Add updates to their sessions; updates of dropped sessions are ignored.

        Returns:
            Sessions whose replay has failed with them; the shards still run them.
        """
        failed = []
        for update in updates:
            record = self.records.get(update.session)
            if record is None:
                continue
            for event in update.events:
                if isinstance(event, Text) and event.chosen:
                    self.last_token = time.monotonic()
            if record.expected:
                if not self._comes_out_alike(record, update):
                    failed.append(record.id)
                continue
            if not record.ended:
                self._show(record, update)
        return failed

    def ask(self, session: int, change: Change) -> None:
        """Note that a change was asked for.

        Raises:
            ConfigError: there is no such session.
        """
        self.record(session).changes.append(change)
        if self.observer is not None:
            self.observer.asked(session, change)

    def cancel(self, session: int, reason: str) -> None:
        """Note that a session was cancelled.

        Raises:
            ConfigError: there is no such session.
        """
        self.record(session).cancelled = reason
        if self.observer is not None:
            self.observer.cancelled(session, reason)

    def expect_join(self, session: int, *, exclusive: bool) -> None:
        """Note that a worker was asked to join.

        Args:
            session: id of the session.
            exclusive: whether to reject the worker while another is joining.

        Raises:
            ConfigError: another worker is joining, or there is no such session.
        """
        record = self.record(session)
        if exclusive and record.num_joining:
            raise ConfigError(
                f"Another worker is joining session {session}; try again once it has joined."
            )
        record.num_joining += 1

    def fail(self, reason: str) -> None:
        """End all open sessions with an error."""
        for record in self.open_records:
            record.error = reason
            record.notify()
            self._end(record)

    async def read(self, session: int, cursor: int, seconds: float) -> tuple[list[Update], bool]:
        """Return the updates from `cursor` on, and whether the session ended with them.

        Waits up to `seconds` if there are none yet.

        Raises:
            ConfigError: there is no such session.
        """
        record = self.record(session)
        record.readers += 1
        try:
            if cursor >= len(record.updates) and not record.ended:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(record.changed.wait(), seconds)
        finally:
            record.readers -= 1
            record.last_read = time.monotonic()
        return record.updates[cursor:], record.ended

    def _comes_out_alike(self, record: Record, update: Update) -> bool:
        """Compare an update of a replay with what was shown; a session that differs has failed."""
        shown = record.expected.popleft()
        record.last_read = time.monotonic()  # a lease begins when the replay is over
        if record.ended or update.events == shown.events:
            return True
        error = SessionError(
            f"The session could not be brought back after its shards were lost: step {shown.step} "
            "came out differently."
        )
        last = record.num_steps - 1
        self._show(record, Update(session=record.id, step=last, events=(), error=error))
        return False

    def _show(self, record: Record, update: Update) -> None:
        """Let readers see an update."""
        record.updates.append(update)
        self.num_shown += 1
        record.num_steps = max(record.num_steps, update.step + 1)
        if update.error is not None:
            record.error = str(update.error)
        for event in update.events:
            record.transcript.add(event)
            if isinstance(event, Joined):
                record.num_joining -= 1
            if isinstance(event, Refused) and event.change == "join":
                record.num_joining -= 1
        if self.observer is not None:
            self.observer.shown((update,))
        record.notify()
        if record.ended:
            self._end(record)

    def _end(self, record: Record) -> None:
        if record.owner.kept:
            self._ended.append(record.id)
        else:
            self._forget(record.id)

    def _forget(self, session: int) -> None:
        del self.records[session]
        if self.observer is not None:
            self.observer.forgotten(session)
