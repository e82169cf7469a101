"""`Restoration`: brings the sessions of a group back when all of its shards are lost."""

import asyncio
import logging
import math
import time
from collections import deque

from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.live_group import LiveGroup
from hogwild_dist.actors.driver.session_record import Record
from hogwild_dist.actors.errors import AllLostError
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Open, Pause
from hogwild_dist.engine.forced_replay import ForcedReplay
from hogwild_dist.errors import HogwildError, ModelError

MOST_VAIN = 2
"""Restorations one after the other of which nothing has come."""

VAIN_SECONDS = 300.0
"""A group that lasts longer was not restored in vain, even if no session has got further."""

START_SECONDS = 120.0
"""Time for which it is tried to start shards: nodes may come back, or be added."""

RETRY_SECONDS = 3.0
"""Time between two attempts to start shards."""

log = logging.getLogger("hogwild_dist.driver")


class Restoration:
    """Starts other shards, and replays on them what the open sessions have shown.

    Sessions that wait, or are opened meanwhile, come after all replays: those need the room that
    they had.

    Args:
        journal: journal of the driver.

    Attributes:
        active: whether no shards are there.
    """

    def __init__(self, journal: Journal) -> None:
        self.active = False
        self._journal = journal
        self._held: set[int] = set()  # sessions of which the shards know nothing yet
        self._num_shown = -1
        self._restored_at = -math.inf
        self._num_vain = 0

    def begin(self, error: AllLostError) -> None:
        """Begin a restoration.

        Raises:
            AllLostError: the last ones were in vain.
        """
        shown, soon = self._journal.num_shown, time.monotonic() < self._restored_at + VAIN_SECONDS
        self._num_vain = self._num_vain + 1 if soon and shown == self._num_shown else 0
        self._num_shown = shown
        if self._num_vain >= MOST_VAIN:
            raise error
        self.active = True

    async def start(self, group: LiveGroup, wanted: int) -> None:
        """Start the shards of a new group, one at least, and send them the open sessions.

        Raises:
            ClusterError: no shard could be started in time.
            HogwildError: the model cannot be loaded.
        """
        await self._start_some(group, wanted)
        self.replay(group)
        group.scaling.wake()

    def replay(self, group: LiveGroup) -> None:
        """Send the open sessions to the shards of a new group, those that have written first."""
        self.active = False
        self._restored_at = time.monotonic()
        self._journal.last_token = -math.inf  # the group is proven when it writes again
        self._held = {record.id for record in self._journal.open_records if record.waiting}
        for record in self._journal.open_records:
            if record.id not in self._held:
                about = {"session": record.id, "steps": record.num_steps}
                log.info("the session is replayed", extra=about)
                for command in commands(record):
                    group.sender.send(command)
        self.go_on(group)

    def holds(self, command: Command) -> bool:
        """Return whether a command is kept in the journal until the shards can carry it out."""
        if isinstance(command, Open) and self._replaying:
            self._held.add(command.session)
        return self.active or (not isinstance(command, Pause) and command.session in self._held)

    def go_on(self, group: LiveGroup) -> None:
        """Send the sessions that were held, once all replays are over."""
        if self._held and not self.active and not self._replaying:
            for session in sorted(self._held & self._journal.records.keys()):
                for command in commands(self._journal.record(session)):
                    group.sender.send(command)
            self._held.clear()

    @property
    def _replaying(self) -> bool:
        return any(record.expected for record in self._journal.open_records)

    async def _start_some(self, group: LiveGroup, wanted: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            for count in dict.fromkeys((wanted, 1)):  # the others may join later
                try:
                    await group.start(count)
                    return
                except ModelError:
                    raise
                except HogwildError as error:
                    group.shards.release()
                    log.warning("%d shards cannot be started: %s", count, error)
                    last = error
            if asyncio.get_running_loop().time() > deadline:
                raise last
            await asyncio.sleep(RETRY_SECONDS)


def commands(record: Record) -> list[Command]:
    """Return what brings a session to where it is, on shards that know nothing of it."""
    record.expected = deque(update for update in record.updates if not update.refused)
    opened = Open(
        session=record.id,
        spec=record.request.spec,
        recorded=record.recorded,
        tenant=record.owner.tenant,
        replay=ForcedReplay.of(record.updates) if record.updates else None,
    )
    changes = [ApplyChange(session=record.id, change=one) for one in record.pending_changes]
    ends = [Cancel(session=record.id, reason=record.cancelled)] if record.cancelled else []
    return [opened, *changes, *ends]
