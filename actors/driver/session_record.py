"""What a driver remembers of one session, and what it tells of it."""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild_dist.engine.updates import Update
from hogwild_dist.run.transcript import Transcript
from hogwild_dist.session.changes import AddWorker, Change
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
        replayed: steps that were replayed so far on other shards, None if no replay is going on.
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
    replayed: int | None = None


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
        num_bytes: about how many bytes of memory they take.
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
    num_bytes: int = 0
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
            replayed=max(0, self.expected[0].step) if self.expected else None,
        )
