"""The journal of a driver: every update of every session, for clients to read from the start."""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from hogwild_dist.actors.driver.session_record import HEALTH, Owner, Record, SessionSnapshot
from hogwild_dist.actors.driver.sizes import bytes_of
from hogwild_dist.actors.settings import KEPT_BYTES
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, SessionError
from hogwild_dist.run.transcript import Transcript
from hogwild_dist.session.changes import Change
from hogwild_dist.session.events import Joined, Refused, Text
from hogwild_dist.team.session_request import SessionRequest

READING_SECONDS = 10.0
"""Time after the last read in which an ended session is not dropped for its size."""

MOST_READ = 1_000
"""Updates that one read returns at most."""

MOST_PENDING = 100
"""Changes of a session that may wait to be made."""

DELETED = "The session was deleted."
"""What readers of a session are told that was deleted while it ran."""

log = logging.getLogger("hogwild_dist.driver")


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
        kept_bytes: bytes of memory beyond which ended sessions are dropped; open ones count too.

    Attributes:
        records: session id -> record.
        last_token: time when a worker last chose a token, by the monotonic clock.
        num_shown: number of updates so far, of all sessions.
        observer: told of everything that the journal takes in, or None.
    """

    def __init__(self, kept: int, kept_bytes: int = KEPT_BYTES) -> None:
        self._num_kept = kept
        self._kept_bytes = kept_bytes
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
        for old in list(self._ended):
            if not self._is_too_large():
                break
            if self.records[old].abandoned(READING_SECONDS):
                self._ended.remove(old)
                self._forget(old)

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

    def check_pending(self, session: int) -> None:
        """Check that not too many changes wait to be made.

        Raises:
            ConfigError: too many wait, or there is no such session.
        """
        if len(self.record(session).pending_changes) >= MOST_PENDING:
            raise ConfigError(
                f"{MOST_PENDING} changes wait for session {session}; try again when some are made."
            )

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

    def forget(self, session: int) -> None:
        """Drop a session with all its text; updates that still come are ignored.

        Raises:
            ConfigError: there is no such session.
        """
        record = self.record(session)
        if record.ended:
            self._ended.remove(session)
        else:
            record.error = DELETED
            record.notify()
        self._forget(session)

    def fail(self, reason: str) -> None:
        """End all open sessions with an error."""
        for record in self.open_records:
            record.error = reason
            record.notify()
            self._end(record)

    async def read(self, session: int, cursor: int, seconds: float) -> tuple[list[Update], bool]:
        """Return the next updates from `cursor` on, and whether the session ended with them.

        There are at most `MOST_READ`, however slow the reader was. Waits up to `seconds` if there
        are none yet.

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
        updates = record.updates[cursor : cursor + MOST_READ]
        return updates, record.ended and cursor + len(updates) >= len(record.updates)

    def _comes_out_alike(self, record: Record, update: Update) -> bool:
        """Compare an update of a replay with what was shown; a session that differs has failed."""
        shown = record.expected.popleft()
        record.last_read = time.monotonic()  # a lease begins when the replay is over
        if not record.expected:
            log.info("the replay is over", extra={"session": record.id})
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
        record.num_bytes += bytes_of(update)
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

    def _is_too_large(self) -> bool:
        return sum(record.num_bytes for record in self.records.values()) > self._kept_bytes

    def _end(self, record: Record) -> None:
        if record.owner.kept:
            self._ended.append(record.id)
        else:
            self._forget(record.id)

    def _forget(self, session: int) -> None:
        del self.records[session]
        if self.observer is not None:
            self.observer.forgotten(session)
