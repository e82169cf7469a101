"""Asynchronous client of a named group, for services."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import ray

from hogwild_dist.actors.client.calls import get_async
from hogwild_dist.actors.driver.session_record import Owner, SessionSnapshot, SessionSummary
from hogwild_dist.actors.errors import ClusterError, GoneError
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings, check_group_name
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import AddWorker, Change
from hogwild_dist.team.session_request import SessionRequest

POLL_SECONDS = 5.0
"""Longest time the driver holds a read that has no updates."""

ERASURE_SECONDS = 600.0
"""Time for which a driver may rewrite a long journal without a deleted session."""

STOP_SECONDS = 5.0
"""Time for a driver to stop its shards before it is killed; its successor then kills them."""


class AsyncShardGroup:
    """A running named group, whose methods are awaited.

    Every method raises `ClusterError` if the driver cannot be reached, `SilentError` if it does not
    answer in time (`calls.CALL_SECONDS`), and `GoneError` if it died.

    Args:
        name: name of the group.

    Raises:
        GoneError: there is no group of that name.
        ConfigError: no group can have that name.
    """

    def __init__(self, name: str) -> None:
        check_group_name(name)
        self.name = name
        try:
            self._driver: Any = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise GoneError(f"No group named {name!r} runs on this cluster.") from error

    async def info(self) -> GroupInfo:
        """Return a description of the group; `ClusterError` if it is not ready or lost."""
        result: GroupInfo = await get_async(self._driver.info.remote())
        return result

    async def settings(self) -> GroupSettings:
        """Return the settings with which the group was started."""
        result: GroupSettings = await get_async(self._driver.settings.remote())
        return result

    async def load(self) -> Load:
        """Return the group's load."""
        result: Load = await get_async(self._driver.load.remote())
        return result

    async def open(self, request: SessionRequest, *, recorded: bool, owner: Owner) -> int:
        """Start a session as soon as it fits, and return its id; see `Driver.open`."""
        reference = self._driver.open.remote(request, recorded=recorded, owner=owner)
        number: int = await get_async(reference)
        return number

    async def snapshot(self, session: int) -> SessionSnapshot:
        """Return the state of a session, without its single updates."""
        result: SessionSnapshot = await get_async(self._driver.snapshot.remote(session))
        return result

    async def sessions(self) -> list[SessionSummary]:
        """Return a summary of every session in the driver's journal."""
        result: list[SessionSummary] = await get_async(self._driver.sessions.remote())
        return result

    async def read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        """Return the updates of a session from `cursor` on; see `Driver.read`."""
        result: tuple[list[Update], bool, str | None] = await get_async(
            self._driver.read.remote(session, cursor, seconds), held=seconds
        )
        return result

    async def follow(self, session: int, cursor: int = 0) -> AsyncIterator[list[Update]]:
        """Yield a session's updates from `cursor` to its end, as they arrive.

        Yields:
            New updates; an empty list if there were none for `POLL_SECONDS`.

        Raises:
            HogwildError: the session could not start, or has failed.
            ClusterError: the session was lost.
        """
        ended = False
        while not ended:
            updates, ended, error = await self.read(session, cursor, POLL_SECONDS)
            cursor += len(updates)
            failure = next((one.error for one in updates if one.error is not None), None)
            if failure is None or any(update.events for update in updates):
                yield updates  # a session that could not start has nothing to show
            if failure is not None:
                raise failure
            if ended and error is not None:
                raise ClusterError(f"The session was lost: {error}")

    async def cancel(self, session: int) -> None:
        """Cancel a session."""
        await get_async(self._driver.cancel.remote(session))

    async def forget(self, session: int) -> None:
        """Drop a session with all its text; see `Driver.forget`."""
        await get_async(self._driver.forget.remote(session), held=ERASURE_SECONDS)

    async def apply_change(self, session: int, change: Change) -> None:
        """Change a running session."""
        await get_async(self._driver.apply_change.remote(session, change))

    async def join(self, session: int, worker: AddWorker) -> None:
        """Let a worker join a running session; `ConfigError` if another worker is joining."""
        await get_async(self._driver.apply_change.remote(session, worker, exclusive=True))

    async def probe(self, request: SessionRequest, seconds: float) -> None:
        """Check that the group generates tokens; see `Driver.probe`."""
        await get_async(self._driver.probe.remote(request, seconds), held=seconds)

    async def lease(self, holder: str, seconds: float) -> float:
        """Lease the group to a service replica, unless another one holds it; see `Driver.lease`."""
        seconds_left: float = await get_async(self._driver.lease.remote(holder, seconds))
        return seconds_left

    async def retire(self, seconds: float) -> None:
        """Take no more sessions, and stop after the last one or after `seconds`."""
        await get_async(self._driver.retire.remote(seconds))

    async def end(self) -> None:
        """Stop the group and its shards, even if its driver is stuck."""
        with contextlib.suppress(ClusterError, TimeoutError):
            await asyncio.wait_for(get_async(self._driver.stop.remote()), STOP_SECONDS)
        ray.kill(self._driver)
