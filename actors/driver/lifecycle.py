"""Who looks after a group: cancels what nobody waits for, and ends a group that nobody needs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hogwild_dist.actors.driver.journal import HEALTH, Journal, Owner
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import GroupSettings

READABLE_SECONDS = 3.0
"""For which the journal of a group that has ended can still be read."""

log = logging.getLogger("hogwild_dist.driver")


@dataclass(slots=True)
class Lease:
    """At most one adapter looks after a group at a time.

    Attributes:
        holder: name of the adapter, empty before the first.
        until: by the monotonic clock; later the group is an orphan.
    """

    holder: str = ""
    until: float = 0.0

    def take(self, holder: str, seconds: float, now: float) -> float:
        """Take the lease, or keep it for longer.

        Args:
            holder: name of the adapter.
            seconds: that it holds if it is not taken again.
            now: by the monotonic clock.

        Returns:
            Seconds for which it is still another's; 0 where it is the holder's now.
        """
        if holder != self.holder and now < self.until:
            return self.until - now
        self.holder, self.until = holder, now + seconds
        return 0.0


class Lifecycle:
    """Watches the sessions of a driver, and the driver's own use.

    Args:
        settings: of the group.
        journal: of the driver.
        cancel: ends a session for a reason.
        stop: ends the driver.
    """

    def __init__(
        self,
        settings: GroupSettings,
        journal: Journal,
        cancel: Callable[[int, str], None],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._cancel = cancel
        self._stop = stop
        self._started = time.monotonic()
        self._deadline: float | None = None
        self.lease = Lease()

    @property
    def retiring(self) -> bool:
        """Whether the group takes no further session."""
        return self._deadline is not None

    def retire(self, seconds: float) -> None:
        """End the group when its last session has ended, or after so many seconds."""
        log.info("retiring within %g s", seconds)
        self._deadline = time.monotonic() + seconds

    async def watch(self) -> None:
        """Look after everything until the group is ended."""
        self._started = time.monotonic()
        while not self._should_stop(time.monotonic()):
            await asyncio.sleep(min(0.5, self._settings.lease_seconds / 4))
            self._cancel_sessions(time.monotonic())
        await self._stop()

    def _should_stop(self, now: float) -> bool:
        orphan_seconds = self._settings.orphan_seconds
        last_managed = max(self.lease.until, self._started)
        if orphan_seconds is not None and not self.retiring and now > last_managed + orphan_seconds:
            log.warning("nobody looks after the group")
            self._deadline = now + orphan_seconds
        if self._deadline is None:
            return False
        return not self._journal.client_records or now > self._deadline

    def _cancel_sessions(self, now: float) -> None:
        """Cancel sessions whose client has gone, and those whose time is over."""
        for record in self._journal.open_records:
            if record.cancelled:
                continue
            if record.owner.leased and record.abandoned(self._settings.lease_seconds):
                log.warning("the client has gone", extra={"session": record.id})
                self._cancel(record.id, "cancelled")
            elif record.overdue(now):
                log.warning("the time is over", extra={"session": record.id})
                self._cancel(record.id, "timeout")


async def probe(
    journal: Journal, open_session: Callable[..., Awaitable[int]], seconds: float
) -> None:
    """See a worker choose a token, in a session of its own where nobody has written lately.

    Args:
        journal: of the group's driver.
        open_session: starts a short session for its `owner`.
        seconds: how old the proof may be, and how long to wait for a new one.

    Raises:
        ClusterError: no token came.
    """
    started = time.monotonic()
    if started < journal.last_token + seconds:
        return
    session = await open_session(owner=Owner(tenant=HEALTH, seconds=seconds, kept=False))
    record, cursor = journal.records[session], 0
    while journal.last_token < started:
        if record.error is not None:
            raise ClusterError(f"The group cannot write: {record.error}")
        seconds_left = started + seconds - time.monotonic()
        if seconds_left <= 0 or record.ended:
            raise ClusterError(f"The group has written no token within {seconds:g} s.")
        updates, _ = await journal.read(session, cursor, seconds_left)
        cursor += len(updates)
