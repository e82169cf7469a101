"""`DurableLog`: keeps what a journal holds in a log, and fills a journal from it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.log.erasure import erase_forgotten
from hogwild_dist.actors.driver.log.files import LogFiles, LogFolder
from hogwild_dist.actors.driver.log.records import (
    Cancelled,
    ChangeAsked,
    Forgotten,
    GroupStarted,
    SessionOpened,
    Shown,
    decode,
    encode,
    settings_from_json,
    settings_to_json,
)
from hogwild_dist.actors.driver.log.state import RestoredState, rebuild
from hogwild_dist.actors.driver.log.writer import LogWriter
from hogwild_dist.actors.driver.session_record import Record
from hogwild_dist.actors.errors import ClusterError, LogError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import Change

FLUSH_SECONDS = 1.0
"""Time for which a request waits until it is on disk."""

log = logging.getLogger("hogwild_dist.driver")


class DurableLog:
    """The log of a driver. It observes a journal, whose sessions then outlive the driver.

    Sessions that are not kept after their end, such as health probes, are not logged.

    Args:
        url: folder of the group's log, or a URL that fsspec knows.
        on_lost: called when another driver has taken over.
    """

    def __init__(self, url: str, on_lost: Callable[[Exception], None]) -> None:
        self._url = url
        self._on_lost = on_lost
        self._files: LogFiles | None = None
        self._writer: LogWriter | None = None
        self._state = RestoredState()
        self._unlogged: set[int] = set()

    async def open(self) -> None:
        """Open the log, and read what an earlier driver has left in it.

        Raises:
            LogError: the log cannot be read or written, or is damaged.
        """
        self._files, self._state = await asyncio.to_thread(_open, self._url)

    def check(self, configuration: Mapping[str, str]) -> None:
        """Refuse to replay sessions with what would write them differently.

        Args:
            configuration: what a replay of the sessions depends on, or a part of it.

        Raises:
            LogError: open sessions were written with another configuration.
        """
        group = self._state.group
        if group is None or all(one.ended for one in self._state.sessions.values()):
            return
        for name, ours in configuration.items():
            if (theirs := group.configuration.get(name)) != ours:
                raise LogError(
                    f"The sessions in {self._url} were written with {name} {theirs}, and the group "
                    f"has {ours}; start it with the same, or with another journal."
                )

    async def begin(
        self, journal: Journal, settings: GroupSettings, configuration: Mapping[str, str]
    ) -> int:
        """Fill the journal with what was in the log, and keep the log up to date from now on.

        Args:
            journal: an empty journal.
            settings: settings of the group.
            configuration: what a replay of the sessions depends on: name -> value.

        Returns:
            The highest number that a session ever had.

        Raises:
            LogError: open sessions were written with another configuration, or the log cannot be
                written; nothing of it is lost.
        """
        assert self._files is not None, "open the log first"
        state = self._state
        self.check(configuration)
        state.group = GroupStarted(
            settings=settings_to_json(settings), configuration=dict(configuration)
        )
        _fill(journal, state)
        for forgotten in state.sessions.keys() - journal.records.keys():
            del state.sessions[forgotten]
        payload = b"".join(map(encode, state.records()))
        await asyncio.to_thread(self._files.compact, payload)
        self._state = RestoredState()
        self._writer = LogWriter(
            self._files,
            size=len(payload),
            erase=partial(erase_forgotten, self._files),
            on_failure=lambda error: log.error("%s", error),
            on_recovery=lambda: log.warning("the log is written again"),
            on_fenced=lambda: self._on_lost(
                ClusterError("Another driver has taken over the group's log; use its group.")
            ),
        )
        journal.observer = self
        return state.last_session

    async def flush(self) -> None:
        """Return when what was noted is on disk; soon, even if it cannot be written."""
        if self._writer is not None:
            with suppress(LogError, TimeoutError):
                await asyncio.wait_for(self._writer.flush(), FLUSH_SECONDS)

    async def erase(self) -> None:
        """Return when the log's files hold nothing of forgotten sessions but their numbers.

        Raises:
            LogError: the files cannot be written; a later erasure, or the next start, does it.
        """
        if self._writer is not None:
            await self._writer.erase()

    async def close(self) -> None:
        """Write what waits, and close the log."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                await writer.close()
            except LogError as error:
                log.error("the end of the log is not written: %s", error)
        if self._files is not None:
            self._files.close()

    def opened(self, record: Record) -> None:
        """Note that a session was opened."""
        if not record.owner.kept:
            self._unlogged.add(record.id)
            return
        self._put(
            SessionOpened(
                session=record.id,
                request=record.request,
                owner=record.owner,
                recorded=record.recorded,
                started=record.started,
            )
        )

    def asked(self, session: int, change: Change) -> None:
        """Note that a change was asked for."""
        if session not in self._unlogged:
            self._put(ChangeAsked(session=session, change=change))

    def cancelled(self, session: int, reason: str) -> None:
        """Note that a session was cancelled."""
        if session not in self._unlogged:
            self._put(Cancelled(session=session, reason=reason))

    def shown(self, updates: Sequence[Update]) -> None:
        """Note that updates became readable."""
        logged = tuple(update for update in updates if update.session not in self._unlogged)
        if logged:
            self._put(Shown(updates=logged))
        if self._writer is not None and any(update.change is not None for update in logged):
            self._writer.hurry()  # what comes after it depends on its step

    def forgotten(self, session: int) -> None:
        """Note that a session can no longer be read."""
        if session in self._unlogged:
            self._unlogged.remove(session)
        else:
            self._put(Forgotten(sessions=(session,)))

    def _put(self, record: SessionOpened | ChangeAsked | Cancelled | Shown | Forgotten) -> None:
        if self._writer is not None:
            self._writer.put(record)


def _fill(journal: Journal, state: RestoredState) -> None:
    """Add the sessions of a log to an empty journal, which may drop the oldest ended ones."""
    for session in state.sessions.values():
        opened = session.opened
        journal.begin(opened.session, opened.request, opened.owner, recorded=opened.recorded)
        journal.add(session.updates)
        record = journal.record(opened.session)
        record.started, record.cancelled = opened.started, session.cancelled
        record.expect_changes(session.changes)


def _open(url: str) -> tuple[LogFiles, RestoredState]:
    files = LogFiles(url)
    try:
        return files, _state_in(files)
    except BaseException:
        files.close()
        raise


def _state_in(folder: LogFolder) -> RestoredState:
    return rebuild(
        record for name, payload in folder.read_all() for record in decode(payload, name)
    )


def stored_settings(journal: str, name: str) -> GroupSettings:
    """Return the settings of a group whose sessions are in a journal.

    Raises:
        LogError: the journal cannot be read, or knows no such group.
    """
    url = log_url(journal, name)
    group = _state_in(LogFolder(url)).group
    if group is None:
        names = ", ".join(map(repr, LogFolder(journal).folders()))
        way_out = f"it has {names}" if names else "it has none, start one"
        raise LogError(f"There is no group {name!r} in the journal {journal!r}; {way_out}.")
    return settings_from_json(group.settings, url)


def has_open_sessions(journal: str, name: str) -> bool:
    """Return whether sessions of a group are to go on once it is started; the log is not changed.

    Raises:
        LogError: the journal cannot be read.
    """
    sessions = _state_in(LogFolder(log_url(journal, name))).sessions.values()
    return any(not session.ended for session in sessions)


def log_url(journal: str, name: str) -> str:
    """Return the folder of a group's log in a journal."""
    return f"{journal.rstrip('/')}/{name}"


def absolute(journal: str) -> str:
    """Return a folder as a path that is the same in every process; a URL stays as it is."""
    return journal if "://" in journal else str(Path(journal).absolute())
