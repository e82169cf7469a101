"""A named group as a service sees it: every call is awaited, and errors are one sentence."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import ray

from hogwild_dist.actors.driver.journal import Owner, SessionSnapshot, SessionSummary
from hogwild_dist.actors.errors import ClusterError, GoneError, plain
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.changes import AddWorker, Change
from hogwild_dist.team.session_request import SessionRequest

POLL_SECONDS = 5.0
"""The driver answers a client that waits at least so often."""

STOP_SECONDS = 5.0
"""A driver that has not stopped its shards by then is killed; its successor ends them."""


class AsyncShardGroup:
    """The driver of a group that runs already.

    Args:
        name: of the group.

    Raises:
        GoneError: there is none of that name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._driver: Any = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise GoneError(f"No group named {name!r} runs on this cluster.") from error

    async def info(self) -> GroupInfo:
        """What the group is; a `ClusterError` where it is not ready or lost."""
        result: GroupInfo = await _get(self._driver.info.remote())
        return result

    async def load(self) -> Load:
        """How much it has to do."""
        result: Load = await _get(self._driver.load.remote())
        return result

    async def open(self, request: SessionRequest, *, recorded: bool, owner: Owner) -> int:
        """Start a session as soon as there is room; returns its number."""
        reference = self._driver.open.remote(request, recorded=recorded, owner=owner)
        number: int = await _get(reference)
        return number

    async def snapshot(self, session: int) -> SessionSnapshot:
        """All about a session so far but its single updates."""
        result: SessionSnapshot = await _get(self._driver.snapshot.remote(session))
        return result

    async def sessions(self) -> list[SessionSummary]:
        """A line about every session that the group knows."""
        result: list[SessionSummary] = await _get(self._driver.sessions.remote())
        return result

    async def read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        """Updates from `cursor` on; see `Driver.read`."""
        result: tuple[list[Update], bool, str | None] = await _get(
            self._driver.read.remote(session, cursor, seconds)
        )
        return result

    async def follow(self, session: int, cursor: int = 0) -> AsyncIterator[list[Update]]:
        """Updates from `cursor` on as they come, up to the end; an empty list is a sign of life.

        Raises:
            ClusterError: the session was lost, or could not start.
        """
        ended = False
        while not ended:
            updates, ended, error = await self.read(session, cursor, POLL_SECONDS)
            cursor += len(updates)
            for update in updates:
                if update.error is not None:
                    raise update.error
            yield updates
            if ended and error is not None:
                raise ClusterError(f"The session was lost: {error}")

    async def cancel(self, session: int) -> None:
        """End a session."""
        await _get(self._driver.cancel.remote(session))

    async def apply_change(self, session: int, change: Change) -> None:
        """Change a running session."""
        await _get(self._driver.apply_change.remote(session, change))

    async def join(self, session: int, worker: AddWorker) -> None:
        """Let a worker join a running session, unless another worker is joining."""
        await _get(self._driver.apply_change.remote(session, worker, exclusive=True))

    async def probe(self, request: SessionRequest, seconds: float) -> None:
        """Prove that the group writes; see `Driver.probe`."""
        await _get(self._driver.probe.remote(request, seconds))

    async def lease(self, holder: str, seconds: float) -> float:
        """Look after the group, unless another adapter does; see `Driver.lease`."""
        seconds_left: float = await _get(self._driver.lease.remote(holder, seconds))
        return seconds_left

    async def retire(self, seconds: float) -> None:
        """Take no more sessions, and end with the last one, or after so many seconds."""
        await _get(self._driver.retire.remote(seconds))

    async def end(self) -> None:
        """End a group that is of no use, its shards with it, even where its driver is stuck."""
        with contextlib.suppress(ClusterError, TimeoutError):
            await asyncio.wait_for(_get(self._driver.stop.remote()), STOP_SECONDS)
        ray.kill(self._driver)


async def _get(reference: Awaitable[Any]) -> Any:
    """A result, or its error in one sentence.

    Raises:
        CancelledError: whoever asked is being cancelled, and Ray cancelled the call with it.
    """
    try:
        return await reference
    except ray.exceptions.TaskCancelledError:
        raise asyncio.CancelledError from None  # says nothing about the group
    except ray.exceptions.RayError as error:
        raise plain(error) from None
