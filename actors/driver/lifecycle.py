"""Lease, health probe and retirement of a group, and the time limits of its sessions."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.session_record import HEALTH, Owner
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import GroupSettings

STOPPED = "the group was stopped"
"""Why a group is lost that was ended on purpose; its driver ends soon and frees its name."""

READABLE_SECONDS = 3.0
"""Time for which the journal of a stopped group can still be read."""

log = logging.getLogger("hogwild_dist.driver")


@dataclass(slots=True)
class Lease:
    """Right of one service replica at a time to manage a group.

    Attributes:
        holder: name of the replica, empty before the first lease.
        until: end of the lease, by the monotonic clock.
    """

    holder: str = ""
    until: float = 0.0

    def take(self, holder: str, seconds: float, now: float) -> float:
        """Take or renew the lease, unless another holder has it.

        Args:
            holder: name of the replica.
            seconds: duration of the lease from now on.
            now: current time, by the monotonic clock.

        Returns:
            Seconds until the other holder's lease ends; 0 if `holder` has the lease now.
        """
        if holder != self.holder and now < self.until:
            return self.until - now
        self.holder, self.until = holder, now + seconds
        return 0.0


class Lifecycle:
    """Cancels abandoned and overdue sessions, and stops a retired or orphaned group.

    Args:
        settings: settings of the group.
        journal: journal of the driver.
        cancel: cancels a session, given its id and a reason.
        stop: stops the group and its driver.
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
        """Whether the group takes no more sessions."""
        return self._deadline is not None

    def retire(self, seconds: float) -> None:
        """Stop the group when its last session has ended, or after `seconds`."""
        log.info("retiring within %g s", seconds)
        self._deadline = time.monotonic() + seconds

    async def watch(self) -> None:
        """Check sessions and lease at intervals, until the group is stopped."""
        self._started = time.monotonic()
        while not self._should_stop(time.monotonic()):
            await asyncio.sleep(min(0.5, self._settings.lease_seconds / 4))
            self._cancel_sessions(time.monotonic())
        await self._stop()

    def _should_stop(self, now: float) -> bool:
        orphan_seconds = self._settings.orphan_seconds
        last_managed = max(self.lease.until, self._started)
        if orphan_seconds is not None and not self.retiring and now > last_managed + orphan_seconds:
            log.warning("no service manages the group")
            self._deadline = now + orphan_seconds
        if self._deadline is None:
            return False
        return not self._journal.client_records or now > self._deadline

    def _cancel_sessions(self, now: float) -> None:
        """Cancel sessions whose client is gone or whose time limit has passed."""
        for record in self._journal.open_records:
            if record.cancelled or record.expected:  # clients of a replay have nothing to read
                continue
            if record.owner.leased and record.abandoned(self._settings.lease_seconds):
                log.warning("the client is gone", extra={"session": record.id})
                self._cancel(record.id, "cancelled")
            elif record.overdue(now):
                log.warning("the time limit has passed", extra={"session": record.id})
                self._cancel(record.id, "timeout")


async def probe(journal: Journal, open_session: Callable[..., int], seconds: float) -> None:
    """Check that a group generates tokens.

    A token chosen in the last `seconds` is proof enough; otherwise a short session is opened.

    Args:
        journal: journal of the group's driver.
        open_session: opens a short session for a given `owner` and returns its id.
        seconds: age at which the last token is too old, and time limit for a new one.

    Raises:
        ClusterError: no token was chosen in time, or the session failed.
    """
    started = time.monotonic()
    if started < journal.last_token + seconds:
        return
    session = open_session(owner=Owner(tenant=HEALTH, seconds=seconds, kept=False))
    record, cursor = journal.records[session], 0
    while journal.last_token < started:
        if record.error is not None:
            raise ClusterError(f"The health probe failed: {record.error}")
        seconds_left = started + seconds - time.monotonic()
        if seconds_left <= 0 or record.ended:
            raise ClusterError(f"The group generated no token within {seconds:g} s.")
        updates, _ = await journal.read(session, cursor, seconds_left)
        cursor += len(updates)
