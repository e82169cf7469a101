"""Client of a group of shards: start or attach, open sessions and read their updates."""

import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from hogwild_dist.actors.client.calls import get, wait
from hogwild_dist.actors.client.drivers import described, end, find_driver, new_driver, way_back
from hogwild_dist.actors.driver.session_record import SessionSummary
from hogwild_dist.actors.errors import LostError
from hogwild_dist.actors.settings import GroupSettings
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

STOP_SECONDS = 10.0
"""Time for a cancelled session to end before the client moves on."""


class ShardGroup:
    """A group of shards, as a backend for `hogwild_dist.Run`; Ray must be connected.

    Create one with `start` or `attach`. Leaving its `with` block stops a group without a name.
    """

    def __init__(self, driver: Any, info: GroupInfo, name: str | None) -> None:
        self._driver = driver
        self._owned = name is None
        way_out = "" if name is None else way_back(name, info.settings)
        self._get = partial(get, way_out=way_out)
        self._wait = partial(wait, way_out=way_out)
        self.info = info.shards[0].model
        self.config = info.settings.shard.engine
        self._model = info.settings.shard.model

    @classmethod
    def start(
        cls,
        settings: GroupSettings,
        *,
        name: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start a driver and its shards; they take the place of a lost group of the same name.

        Args:
            settings: settings of the group.
            name: name under which the group outlives this client; None ends it with the client.
            tell: called with each line of progress.

        Raises:
            ClusterError: the cluster is too small or a shard died; nothing is left running.
            NameTakenError: a group of that name is already running.
            HogwildError: the model cannot be loaded, or the shards' software or settings differ.
        """
        driver = new_driver(settings, name, tell)
        try:
            info = wait(driver.start.remote(), driver, tell)
            return cls(driver, info, name)
        except BaseException:
            end(driver)
            raise

    @classmethod
    def attach(cls, name: str) -> Self:
        """Attach to a running named group.

        Raises:
            ClusterError: there is no group of that name, it is not ready or lost, or its driver
                does not answer.
        """
        driver = find_driver(name)
        return cls(driver, described(name, driver), name)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the model; loading it takes a second, and most commands need none.

        Raises:
            ModelError: this machine has no such model, or its tokenizer cannot be read.
        """
        return load_tokenizer(resolve_model(self._model))

    @property
    def group(self) -> GroupInfo:
        """The group as it is now; a lost shard changes it.

        Raises:
            ClusterError: the group is lost.
        """
        info: GroupInfo = self._get(self._driver.info.remote())
        return info

    def open(self, request: SessionRequest, *, recorded: bool) -> "RemoteStream":
        """Open a session and return the stream of its updates.

        Args:
            request: problem, team and spec of the session.
            recorded: whether the session's updates contain trace records.

        Raises:
            ClusterError: the group is lost or retiring.
        """
        session = self._get(self._driver.open.remote(request, recorded=recorded))
        return RemoteStream(self._driver, session, self._get)

    def follow(self, session: int) -> "RemoteStream":
        """Return a stream that reads any client's session from its start and cannot cancel it.

        Raises:
            ConfigError: there is no such session.
        """
        self._get(self._driver.snapshot.remote(session))  # raises if there is no such session
        return RemoteStream(self._driver, session, self._get, owned=False)

    def cancel(self, session: int) -> None:
        """Cancel a session.

        Raises:
            ConfigError: there is no such session.
        """
        self._get(self._driver.cancel.remote(session))

    def forget(self, session: int) -> None:
        """Drop a session with all its text, also from the journal; a running one is cancelled.

        Raises:
            ConfigError: there is no such session.
            LogError: the session cannot be read any more, but its text is still in the journal.
        """
        self._wait(self._driver.forget.remote(session), self._driver)

    def change_texts(self, session: int) -> ChangeTexts:
        """Return the builder of changes for any client's session.

        Raises:
            ConfigError: there is no such session.
        """
        return ChangeTexts(self._get(self._driver.snapshot.remote(session)).origin, self.tokenizer)

    def apply_change(self, session: int, change: Change) -> None:
        """Change any client's running session.

        Raises:
            ConfigError: there is no such session, or it has ended.
        """
        self._get(self._driver.apply_change.remote(session, change))

    def sessions(self) -> list[SessionSummary]:
        """Return a summary of every session in the driver's journal."""
        result: list[SessionSummary] = self._get(self._driver.sessions.remote())
        return result

    def status(self) -> list[ShardStatus]:
        """Return the status of each shard, by rank."""
        result: list[ShardStatus] = self._get(self._driver.status.remote())
        return result

    def progress(self) -> str:
        """Return a few words about what the group is doing, such as ready."""
        result: str = self._get(self._driver.progress.remote())
        return result

    def scale(self, count: int, tell: Callable[[str], None] = lambda _: None) -> GroupInfo:
        """Bring the group to a number of shards while its sessions go on.

        Args:
            count: number of shards, from 1 to 64.
            tell: called with each line of progress.

        Raises:
            ConfigError: the number is out of range, or the group's visibility forbids it.
            ClusterError: another change is going on, the cluster is too small or a shard was lost;
                the group goes on with the shards that it has.
        """
        info: GroupInfo = self._wait(self._driver.scale.remote(count), self._driver, tell)
        return info

    def renew(self, tell: Callable[[str], None] = lambda _: None) -> GroupInfo:
        """Replace all shards by new processes, one by one, while the group's sessions go on.

        Args:
            tell: called with each line of progress.

        Raises:
            ConfigError: the group's visibility forbids it.
            ClusterError: another change is going on, the cluster has no room for one more shard, or
                a shard was lost; the group goes on with the shards that it has.
        """
        info: GroupInfo = self._wait(self._driver.renew.remote(), self._driver, tell)
        return info

    def timelines(self) -> list[list[Span]]:
        """Return each shard's timeline spans, by rank; empty unless the group keeps timelines."""
        result: list[list[Span]] = self._get(self._driver.timelines.remote())
        return result

    def checksums(self, session: int) -> list[dict[str, int]]:
        """Return block checksums of an ended session, by rank; requires a group that audits."""
        result: list[dict[str, int]] = self._wait(
            self._driver.checksums.remote(session), self._driver
        )
        return result

    def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Replay a trace with its own tokens; see `hogwild_dist.run.trace.replay`."""
        rows: list[RowComparison] = self._wait(self._driver.replay_fed.remote(trace), self._driver)
        return rows

    def replay_free(self, trace: Trace) -> list[list[str]]:
        """Replay a trace with tokens the group chooses; see `hogwild_dist.run.trace.replay`."""
        steps: list[list[str]] = self._wait(self._driver.replay_free.remote(trace), self._driver)
        return steps

    def stop(self) -> None:
        """Stop the group and all its sessions."""
        end(self._driver)

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
    """Stream of the updates of a session on a group of shards.

    Args:
        driver: the group's driver.
        session: id of the session.
        get: returns the result of a call of the driver; see `calls.get`.
        owned: whether the session was opened by this client, which then can cancel it.
    """

    def __init__(
        self, driver: Any, session: int, get: Callable[..., Any], *, owned: bool = True
    ) -> None:
        self.session = session
        self._driver = driver
        self._get = get
        self._owned = owned
        self._cursor = 0
        self._ended = False

    def __iter__(self) -> Iterator[Update]:
        while not self._ended:
            for update in self._next(POLL_SECONDS):
                yield update
                if update.error is not None:
                    raise update.error

    def apply_change(self, change: Change) -> None:
        """Change the session at the same step on all shards.

        Raises:
            ConfigError: the session has ended.
        """
        self._get(self._driver.apply_change.remote(self.session, change))

    def stop(self) -> list[Update]:
        """Cancel the session if this client opened it, and return the unread updates."""
        if self._ended or not self._owned:
            return []
        unread: list[Update] = []
        self._get(self._driver.cancel.remote(self.session))
        deadline = time.monotonic() + STOP_SECONDS
        while not self._ended and time.monotonic() < deadline:
            unread += self._next(deadline - time.monotonic())
        return unread

    def _next(self, seconds: float) -> list[Update]:
        reference = self._driver.read.remote(self.session, self._cursor, seconds)
        updates, self._ended, error = self._get(reference, held=seconds)
        self._cursor += len(updates)
        if self._ended and error is not None and not updates:
            raise LostError(f"Session {self.session} was lost: {error}")
        failed = any(update.error is not None for update in updates)
        self._ended = self._ended and (error is None or failed)
        result: list[Update] = updates
        return result
