"""A group of shards as its client sees it: start or attach, open sessions, read what they bring."""

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import ray

from hogwild_dist.actors.driver.driver import Driver
from hogwild_dist.actors.driver.journal import SessionSummary
from hogwild_dist.actors.errors import ClusterError, NameTakenError, plain
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings
from hogwild_dist.actors.shard.info import GroupInfo
from hogwild_dist.actors.shard.shard import ShardStatus
from hogwild_dist.engine.updates import Update
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loader import load_tokenizer
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import RowComparison
from hogwild_dist.session.changes import Change
from hogwild_dist.team.change_texts import ChangeTexts
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.timeline import Span

POLL_SECONDS = 5.0
"""The driver answers a client that waits at least so often."""

MAX_CALLS = 10_000
"""Calls that a driver answers at a time; every client that waits for news holds one."""

STOP_SECONDS = 10.0
"""A cancelled session that has not ended by then is left alone."""


class ShardGroup:
    """A backend for `hogwild_dist.Run`; Ray must be connected.

    Make one with `start` or `attach`. Leaving a `with` block ends a group that has no name.
    """

    def __init__(self, driver: Any, info: GroupInfo, *, owned: bool) -> None:
        self._driver = driver
        self._owned = owned
        self.group = info
        self.info = info.shards[0].model
        self.config = info.settings.shard.engine
        self.tokenizer = load_tokenizer(resolve_model(info.settings.shard.model))

    @classmethod
    def start(
        cls,
        settings: GroupSettings,
        *,
        name: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start a driver and its shards.

        Args:
            settings: of the group.
            name: lets the group outlive this client; None ends it with the client.
            tell: takes lines of progress.

        Raises:
            ClusterError: the cluster is too small, or the name is taken; nothing is left running.
            HogwildError: the model cannot be loaded, or the shards are not alike.
        """
        remote: Any = ray.remote(Driver)
        try:
            driver = remote.options(
                num_cpus=0,
                name=name,
                namespace=NAMESPACE,
                lifetime="detached" if name else None,
                max_restarts=0,
                max_concurrency=MAX_CALLS,
                enable_task_events=False,  # Ray's head node would keep one for every read
            ).remote(settings, name)
        except ValueError as error:
            raise NameTakenError(
                f"A driver named {name!r} is running already; attach to it with --attach, stop it "
                f"with `hogwild group stop {name}`, or choose another --name."
            ) from error
        try:
            info = _wait_for_start(driver.start.remote(), driver, tell)
            return cls(driver, info, owned=name is None)
        except BaseException:
            _end(driver)
            raise

    @classmethod
    def attach(cls, name: str) -> Self:
        """Find a named group.

        Raises:
            ClusterError: there is none, or it is lost.
        """
        try:
            driver = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise ClusterError(
                f"No group named {name!r} runs on this cluster; start it with "
                f"`hogwild group start {name}`."
            ) from error
        return cls(driver, _get(driver.info.remote()), owned=False)

    def open(self, request: SessionRequest, *, recorded: bool) -> "RemoteStream":
        """Start a session.

        Args:
            request: what it starts from.
            recorded: whether its updates carry a trace's entries.
        """
        session = _get(self._driver.open.remote(request, recorded=recorded))
        return RemoteStream(self._driver, session)

    def follow(self, session: int) -> "RemoteStream":
        """Read a session from its beginning, whoever opened it; `stop` does not cancel it."""
        _get(self._driver.snapshot.remote(session))  # refuses one that is not there
        return RemoteStream(self._driver, session, owned=False)

    def cancel(self, session: int) -> None:
        """End a session.

        Raises:
            ConfigError: there is none of that number.
        """
        _get(self._driver.cancel.remote(session))

    def change_texts(self, session: int) -> ChangeTexts:
        """What writes the changes for a session, whoever opened it.

        Raises:
            ConfigError: there is none of that number.
        """
        return ChangeTexts(_get(self._driver.snapshot.remote(session)).origin, self.tokenizer)

    def apply_change(self, session: int, change: Change) -> None:
        """Change a running session, whoever opened it.

        Raises:
            ConfigError: there is none of that number, or it has ended.
        """
        _get(self._driver.apply_change.remote(session, change))

    def sessions(self) -> list[SessionSummary]:
        """All that the driver's journal holds."""
        result: list[SessionSummary] = _get(self._driver.sessions.remote())
        return result

    def status(self) -> list[ShardStatus]:
        """What each shard holds, by rank."""
        result: list[ShardStatus] = _get(self._driver.status.remote())
        return result

    def timelines(self) -> list[list[Span]]:
        """Where each shard's time went, by rank, where the group keeps timelines."""
        result: list[list[Span]] = _get(self._driver.timelines.remote())
        return result

    def checksums(self, session: int) -> list[dict[str, int]]:
        """Of a session's blocks, by rank, where the group audits."""
        result: list[dict[str, int]] = _get(self._driver.checksums.remote(session))
        return result

    def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Feed a trace's tokens on the group; see `hogwild_dist.run.trace.replay`."""
        rows: list[RowComparison] = _get(self._driver.replay_fed.remote(trace))
        return rows

    def replay_free(self, trace: Trace) -> list[list[str]]:
        """Let the group choose; see `hogwild_dist.run.trace.replay`."""
        steps: list[list[str]] = _get(self._driver.replay_free.remote(trace))
        return steps

    def stop(self) -> None:
        """End the group, its sessions included."""
        _end(self._driver)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owned:
            self.stop()


class RemoteStream:
    """A session on a group of shards."""

    def __init__(self, driver: Any, session: int, *, owned: bool = True) -> None:
        self.session = session
        self._driver = driver
        self._owned = owned
        self._cursor = 0
        self._ended = False

    def __iter__(self) -> Iterator[Update]:
        while not self._ended:
            yield from self._next(POLL_SECONDS)

    def apply_change(self, change: Change) -> None:
        """Change the session, at the same step on all shards.

        Raises:
            ConfigError: it has ended.
        """
        _get(self._driver.apply_change.remote(self.session, change))

    def stop(self) -> list[Update]:
        """End the session if it goes on; returns the updates that were not read."""
        if self._ended or not self._owned:
            return []
        unread: list[Update] = []
        _get(self._driver.cancel.remote(self.session))
        deadline = time.monotonic() + STOP_SECONDS
        while not self._ended and time.monotonic() < deadline:
            unread += self._next(deadline - time.monotonic())
        return unread

    def _next(self, seconds: float) -> list[Update]:
        reference = self._driver.read.remote(self.session, self._cursor, seconds)
        updates, self._ended, error = _get(reference)
        self._cursor += len(updates)
        for update in updates:
            if update.error is not None:
                raise update.error
        if self._ended and error is not None and not updates:
            raise ClusterError(f"Session {self.session} was lost: {error}")
        self._ended = self._ended and error is None
        result: list[Update] = updates
        return result


def _wait_for_start(reference: Any, driver: Any, tell: Callable[[str], None]) -> Any:
    """Wait for a driver to start, and say what it is doing."""
    last = ""
    while not ray.wait([reference], timeout=0.5)[0]:
        progress = _get(driver.progress.remote())
        if progress != last:
            tell(progress)
            last = progress
    return _get(reference)


def _get(reference: Any) -> Any:
    """A result, or its error in one sentence."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise plain(error) from None


def _end(driver: Any) -> None:
    """End a driver and all that it has started; one that has gone already is no error."""
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(driver.stop.remote(), timeout=STOP_SECONDS)
    ray.kill(driver)
