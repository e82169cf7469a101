"""Client of a group of shards: start or attach, open sessions and read their updates."""

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
"""Longest time the driver holds a read that has no updates."""

MAX_READERS = 10_000
"""Clients of a driver that may wait for updates at the same time; others wait for their turn."""

MAX_CALLS = 1_000
"""Other concurrent calls of a driver."""

STOP_SECONDS = 10.0
"""Time for a cancelled session to end, and for a driver to stop, before the client moves on."""


class ShardGroup:
    """A group of shards, as a backend for `hogwild_dist.Run`; Ray must be connected.

    Create one with `start` or `attach`. Leaving its `with` block stops a group without a name.
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
            settings: settings of the group.
            name: name under which the group outlives this client; None ends it with the client.
            tell: called with each line of progress.

        Raises:
            ClusterError: the cluster is too small or a shard died; nothing is left running.
            NameTakenError: a group of that name is already running.
            HogwildError: the model cannot be loaded, or the shards' software or settings differ.
        """
        remote: Any = ray.remote(concurrency_groups={"readers": MAX_READERS})(Driver)  # type: ignore[call-overload]
        try:
            driver = remote.options(
                num_cpus=0,
                name=name,
                namespace=NAMESPACE,
                lifetime="detached" if name else None,
                max_restarts=0,
                max_concurrency=MAX_CALLS,
                enable_task_events=False,  # Ray's head node would keep an event for every read
            ).remote(settings, name)
        except ValueError as error:
            raise NameTakenError(
                f"A group named {name!r} is already running; attach to it with --attach, stop it "
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
        """Attach to a running named group.

        Raises:
            ClusterError: there is no group of that name, or it is not ready or lost.
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
        """Open a session and return the stream of its updates.

        Args:
            request: problem, team and spec of the session.
            recorded: whether the session's updates contain trace records.

        Raises:
            ClusterError: the group is lost or retiring.
        """
        session = _get(self._driver.open.remote(request, recorded=recorded))
        return RemoteStream(self._driver, session)

    def follow(self, session: int) -> "RemoteStream":
        """Return a stream that reads any client's session from its start and cannot cancel it.

        Raises:
            ConfigError: there is no such session.
        """
        _get(self._driver.snapshot.remote(session))  # raises if there is no such session
        return RemoteStream(self._driver, session, owned=False)

    def cancel(self, session: int) -> None:
        """Cancel a session.

        Raises:
            ConfigError: there is no such session.
        """
        _get(self._driver.cancel.remote(session))

    def change_texts(self, session: int) -> ChangeTexts:
        """Return the builder of changes for any client's session.

        Raises:
            ConfigError: there is no such session.
        """
        return ChangeTexts(_get(self._driver.snapshot.remote(session)).origin, self.tokenizer)

    def apply_change(self, session: int, change: Change) -> None:
        """Change any client's running session.

        Raises:
            ConfigError: there is no such session, or it has ended.
        """
        _get(self._driver.apply_change.remote(session, change))

    def sessions(self) -> list[SessionSummary]:
        """Return a summary of every session in the driver's journal."""
        result: list[SessionSummary] = _get(self._driver.sessions.remote())
        return result

    def status(self) -> list[ShardStatus]:
        """Return the status of each shard, by rank."""
        result: list[ShardStatus] = _get(self._driver.status.remote())
        return result

    def timelines(self) -> list[list[Span]]:
        """Return each shard's timeline spans, by rank; empty unless the group keeps timelines."""
        result: list[list[Span]] = _get(self._driver.timelines.remote())
        return result

    def checksums(self, session: int) -> list[dict[str, int]]:
        """Return block checksums of an ended session, by rank; requires a group that audits."""
        result: list[dict[str, int]] = _get(self._driver.checksums.remote(session))
        return result

    def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Replay a trace with its own tokens; see `hogwild_dist.run.trace.replay`."""
        rows: list[RowComparison] = _get(self._driver.replay_fed.remote(trace))
        return rows

    def replay_free(self, trace: Trace) -> list[list[str]]:
        """Replay a trace with tokens the group chooses; see `hogwild_dist.run.trace.replay`."""
        steps: list[list[str]] = _get(self._driver.replay_free.remote(trace))
        return steps

    def stop(self) -> None:
        """Stop the group and all its sessions."""
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
    """Stream of the updates of a session on a group of shards."""

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
        """Change the session at the same step on all shards.

        Raises:
            ConfigError: the session has ended.
        """
        _get(self._driver.apply_change.remote(self.session, change))

    def stop(self) -> list[Update]:
        """Cancel the session if this client opened it, and return the unread updates."""
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
    """Wait for a driver to start, and report its progress."""
    last = ""
    while not ray.wait([reference], timeout=0.5)[0]:
        progress = _get(driver.progress.remote())
        if progress != last:
            tell(progress)
            last = progress
    return _get(reference)


def _get(reference: Any) -> Any:
    """Return the result of a call, or raise its error in one sentence."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise plain(error) from None


def _end(driver: Any) -> None:
    """Stop a driver and all that it started; a driver that is already dead is no error."""
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(driver.stop.remote(), timeout=STOP_SECONDS)
    ray.kill(driver)
