"""`SessionCalls`: what clients ask a driver about sessions."""

import asyncio
import logging
from abc import ABC, abstractmethod

import ray

from hogwild_dist.actors.driver.durable_log import DurableLog
from hogwild_dist.actors.driver.group_keeper import GroupKeeper
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.lifecycle import STOPPED, Lifecycle
from hogwild_dist.actors.driver.session_record import (
    Owner,
    Record,
    SessionSnapshot,
    SessionSummary,
)
from hogwild_dist.actors.errors import ClusterError, EndedError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.engine.commands import ApplyChange, Cancel, Open
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import AddWorker, Change
from hogwild_dist.team.session_request import SessionRequest

log = logging.getLogger("hogwild_dist.driver")


class SessionCalls(ABC):
    """The part of a driver that opens, changes, ends and reads sessions.

    What is asked for outlives the driver once a call returns, if the group has a durable journal.
    """

    _settings: GroupSettings
    _journal: Journal
    _keeper: GroupKeeper
    _lifecycle: Lifecycle
    _log: DurableLog | None
    _ready: bool
    _lost_reason: str | None
    _num_sessions: int
    _loop: asyncio.AbstractEventLoop | None

    @abstractmethod
    def _check_ready(self) -> None:
        """Check that the group is ready, and neither lost nor stopped."""

    @abstractmethod
    def _observe_sessions(self) -> None:
        """Set the metrics of sessions."""

    async def open(
        self, request: SessionRequest, *, recorded: bool, owner: Owner | None = None
    ) -> int:
        """Start a session on all shards as soon as it fits, and return its id once it is logged.

        Args:
            request: problem, team and spec of the session.
            recorded: whether the session's updates contain trace records.
            owner: owner of the session; the default has no tenant and no secret.

        Raises:
            ClusterError: the group is not ready, lost or retiring.
        """
        session = self._open(request, recorded=recorded, owner=owner)
        await self._flush()
        return session

    def _open(self, request: SessionRequest, *, recorded: bool, owner: Owner | None = None) -> int:
        self._check_ready()
        if self._lifecycle.retiring:
            raise ClusterError(
                "The group is shutting down and takes no more sessions; use another group."
            )
        self._num_sessions += 1
        session, owner = self._num_sessions, owner or Owner()
        self._journal.begin(session, request, owner, recorded=recorded)
        self._observe_sessions()
        self._keeper.send(
            Open(session=session, spec=request.spec, recorded=recorded, tenant=owner.tenant)
        )
        fields: dict[str, object] = {"session": session}
        if self._settings.log_texts:
            fields["problem"] = self._journal.record(session).summary().label
        log.info("session opened", extra=fields)
        return session

    async def snapshot(self, session: int) -> SessionSnapshot:
        """Return the state of a session, without its single updates.

        Raises:
            ConfigError: there is no such session.
        """
        self._record(session)
        return self._journal.snapshot(session)

    async def sessions(self) -> list[SessionSummary]:
        """Return a summary of every session in the journal."""
        return [record.summary() for record in self._journal.records.values()]

    async def cancel(self, session: int) -> None:
        """Cancel a session at the same step on all shards; an ended session is left alone.

        Raises:
            ConfigError: there is no such session.
        """
        if not self._record(session).ended:
            self._cancel(session, "cancelled")
            await self._flush()

    async def forget(self, session: int) -> None:
        """Drop a session with all its text, also from the log; a running one is cancelled.

        Raises:
            ConfigError: there is no such session.
            ClusterError: the group was stopped.
            LogError: the session cannot be read any more, but its text is still in the log.
        """
        if self._lost_reason == STOPPED:
            self._check_ready()
        if not self._record(session).ended:
            self._cancel(session, "cancelled")
        self._journal.forget(session)
        self._observe_sessions()
        log.info("session deleted", extra={"session": session})
        if self._log is not None:
            await self._log.erase()

    async def apply_change(self, session: int, change: Change, *, exclusive: bool = False) -> None:
        """Change a session at the same step on all shards; its updates contain the result.

        Args:
            session: id of the session.
            change: change to apply.
            exclusive: whether to reject a worker while another is joining, so that the client
                knows every other worker when it describes the new one.

        Raises:
            EndedError: it has ended.
            ConfigError: there is no such session, too many changes wait, or another worker is
                joining.
        """
        if self._record(session).ended:
            raise EndedError(f"Session {session} has ended; nothing can be changed in it.")
        self._journal.check_pending(session)
        if isinstance(change, AddWorker):
            self._journal.expect_join(session, exclusive=exclusive)
        self._journal.ask(session, change)
        self._keeper.send(ApplyChange(session=session, change=change))
        await self._flush()

    @ray.method(concurrency_group="readers")
    async def read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        """Return a session's updates from `cursor` on; wait up to `seconds` if there are none yet.

        Returns:
            The updates, whether the session ended with them, and its error, if any.

        Raises:
            ConfigError: there is no such session.
        """
        # Ray calls this in another event loop than the methods outside the group.
        loop = self._loop or asyncio.get_running_loop()
        reading = asyncio.run_coroutine_threadsafe(self._read(session, cursor, seconds), loop)
        return await asyncio.wrap_future(reading)

    async def _read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        record = self._record(session)  # the journal may drop the session while we wait
        updates, ended = await self._journal.read(session, cursor, seconds)
        return updates, ended, record.error

    async def _flush(self) -> None:
        """Wait until what a client asked for outlives this process."""
        if self._log is not None:
            await self._log.flush()

    def _cancel(self, session: int, reason: str) -> None:
        """Cancel a session at the same step on all shards, for a reason."""
        self._journal.cancel(session, reason)
        self._keeper.send(Cancel(session=session, reason=reason))

    def _record(self, session: int) -> Record:
        """Return the record of a session.

        Raises:
            ConfigError: there is no such session.
            ClusterError: the sessions of an earlier driver are not back yet.
        """
        if not self._ready:
            self._check_ready()
        return self._journal.record(session)
