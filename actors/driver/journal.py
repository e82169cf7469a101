"""The journal of a driver: every update of every session, for any client to read from the start."""

import asyncio
import contextlib
import copy
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.transcript import Transcript
from hogwild_dist.session.events import Joined, Refused, Text
from hogwild_dist.team.session_request import SessionRequest

LABEL_CHARS = 60

HEALTH = "(health)"
"""Tenant of the sessions that probe that a group writes; no key can be called so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose a session is.

    Attributes:
        tenant: for whom; tenants take turns where sessions wait for room.
        secret: what a client of a service has to know to read it.
        leased: whether it is cancelled when no client asks for it any more.
        seconds: after which it is cancelled in any case; None is never.
        kept: whether it can be read when it has ended.
    """

    tenant: str = ""
    secret: str = ""
    leased: bool = True
    seconds: float | None = None
    kept: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSummary:
    """One line about a session.

    Attributes:
        id: of the session.
        label: the beginning of its problem.
        workers: their names.
        num_tokens: chosen so far, by all.
        num_steps: so far.
        started: seconds since the epoch.
        end_reason: why it ended, None while it goes on.
        error: what went wrong, if anything.
        tenant: for whom.
        begun: whether it no longer waits for room.
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
    """All about a session so far but its single updates.

    Attributes:
        summary: in one line.
        owner: whose it is.
        origin: what it started from.
        transcript: so far.
        recorded: whether its updates carry a trace's entries.
        cursor: updates so far.
        ahead: sessions that wait for longer, while it waits itself.
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
    """One session.

    Attributes:
        id: of the session.
        origin: what it started from.
        owner: whose it is.
        recorded: whether its updates carry a trace's entries.
        transcript: so far.
        updates: from the first.
        error: what went wrong, if anything.
        changed: set and replaced with each change.
        readers: clients that wait for updates now.
        last_read: when a client last asked for updates, by the monotonic clock.
        started: seconds since the epoch.
        opened: the same by the monotonic clock.
        cancelled: whether it was asked to end.
        joining: whether a worker was asked to join of whom no shard has said anything.
    """

    id: int
    request: SessionRequest
    owner: Owner
    recorded: bool
    transcript: Transcript
    updates: list[Update] = field(default_factory=list)
    error: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0
    last_read: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.time)
    opened: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    joining: bool = False

    @property
    def ended(self) -> bool:
        """Whether no further update comes."""
        return self.error is not None or self.transcript.end_reason is not None

    @property
    def waiting(self) -> bool:
        """Whether the session has not started yet."""
        return not self.updates and not self.ended

    def notify(self) -> None:
        """Wake everyone who waits."""
        self.changed.set()
        self.changed = asyncio.Event()

    def abandoned(self, seconds: float) -> bool:
        """Whether no client has asked for so long."""
        return not self.readers and time.monotonic() > self.last_read + seconds

    def overdue(self, now: float) -> bool:
        """Whether its time is over, by the monotonic clock."""
        return self.owner.seconds is not None and now > self.opened + self.owner.seconds

    def snapshot(self, ahead: int) -> SessionSnapshot:
        """All about it so far; it does not change when the session goes on.

        Args:
            ahead: sessions that wait for longer.
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
        """One line about it."""
        return SessionSummary(
            id=self.id,
            label=self.request.problem[:LABEL_CHARS],
            workers=tuple(self.transcript.names),
            num_tokens=sum(self.transcript.num_tokens.values()),
            num_steps=max((update.step + 1 for update in self.updates), default=0),
            started=self.started,
            end_reason=self.transcript.end_reason,
            error=self.error,
            tenant=self.owner.tenant,
            begun=bool(self.updates),
        )


class Journal:
    """All sessions of a driver, in the order in which they were opened.

    Args:
        kept: sessions that have ended and can still be read.
    """

    def __init__(self, kept: int) -> None:
        self._num_kept = kept
        self._ended: deque[int] = deque()
        """Those that have ended and can be read, in the order in which they ended."""
        self.records: dict[int, Record] = {}
        self.last_token = -math.inf
        """When a worker last chose a token, by the monotonic clock."""

    @property
    def open_records(self) -> list[Record]:
        """Those that go on."""
        return [record for record in self.records.values() if not record.ended]

    @property
    def client_records(self) -> list[Record]:
        """Those that go on for a client, and not to probe that the group writes."""
        return [record for record in self.open_records if record.owner.tenant != HEALTH]

    def record(self, session: int) -> Record:
        """A session by its number.

        Raises:
            ConfigError: there is none of that number.
        """
        if session not in self.records:
            known = ", ".join(map(str, self.records)) or "none"
            raise ConfigError(f"There is no session {session}; known are: {known}.")
        return self.records[session]

    def snapshot(self, session: int) -> SessionSnapshot:
        """All about a session so far but its single updates; `ConfigError` where there is none."""
        record = self.record(session)
        waiting = [record.id for record in self.open_records if record.waiting]
        ahead = waiting.index(session) if session in waiting else 0
        return record.snapshot(ahead)

    def begin(self, session: int, request: SessionRequest, owner: Owner, *, recorded: bool) -> None:
        """Note a new session; of too many that have ended the first to end is forgotten."""
        names = tuple(worker.name for worker in request.spec.workers)
        self.records[session] = Record(session, request, owner, recorded, Transcript(names))
        while len(self._ended) > self._num_kept:
            del self.records[self._ended.popleft()]

    def add(self, updates: Sequence[Update]) -> None:
        """Take in what the shards agreed on."""
        for update in updates:
            record = self.records.get(update.session)
            if record is None:
                continue
            had_ended = record.ended
            record.updates.append(update)
            if update.error is not None:
                record.error = str(update.error)
            for event in update.events:
                record.transcript.add(event)
                if isinstance(event, Joined | Refused):
                    record.joining = False
                if isinstance(event, Text) and event.chosen:
                    self.last_token = time.monotonic()
            record.notify()
            if record.ended and not had_ended:
                self._end(record)

    def expect_join(self, session: int, *, exclusive: bool) -> None:
        """Note that a worker is to join.

        Raises:
            ConfigError: it may join only exclusively, and no shard has said anything of another.
        """
        record = self.record(session)
        if exclusive and record.joining:
            raise ConfigError(
                f"Another worker is joining session {session}; ask again when it has begun."
            )
        record.joining = True

    def fail(self, reason: str) -> None:
        """No open session gets any further."""
        for record in self.open_records:
            record.error = reason
            record.notify()
            self._end(record)

    async def read(self, session: int, cursor: int, seconds: float) -> tuple[list[Update], bool]:
        """Updates from `cursor` on, and whether the session has ended with them.

        Waits up to `seconds` where there is none yet.
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

    def _end(self, record: Record) -> None:
        if record.owner.kept:
            self._ended.append(record.id)
        else:
            del self.records[record.id]
