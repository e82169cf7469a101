"""`GroupKeeper`: has shards for the sessions of a driver, and others when all of them are lost."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.live_group import LiveGroup
from hogwild_dist.actors.driver.restoration import Restoration
from hogwild_dist.actors.driver.scaling import Scaling
from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.actors.errors import AllLostError, ClusterError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.actors.shard.info import GroupInfo
from hogwild_dist.engine.commands import Command
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import HogwildError

log = logging.getLogger("hogwild_dist.driver")


class GroupKeeper:
    """Starts a group, and another one whenever all shards of the last one are lost.

    Args:
        settings: settings of the group.
        new_shards: makes the shards of a group; nothing of them is started.
        journal: journal of the driver, whose open sessions are replayed on new shards.
        report_progress: called with each line of progress.
        on_change: called when the shards are others than before.
    """

    def __init__(
        self,
        settings: GroupSettings,
        new_shards: Callable[[], ShardSet],
        journal: Journal,
        *,
        report_progress: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._new_shards = new_shards
        self._report_progress = report_progress
        self._on_change = on_change
        self._restoration = Restoration(journal)
        self.live = self._new_group(settings, epoch=0)
        """The present group."""

    async def start(self) -> None:
        """Start the first group; see `ShardSet.start`."""
        await self.live.start(self._settings.num_shards)

    def replay(self) -> None:
        """Replay the sessions that an earlier driver has left open."""
        self._restoration.replay(self.live)

    async def keep(self) -> None:
        """Look after the shards; when all are lost, start others, and replay the sessions there.

        Raises:
            HogwildError: the group cannot go on.
        """
        while True:
            try:
                await self.live.keep()
            except AllLostError as error:
                log.warning("all shards are lost: %s", error)
                self._restoration.begin(error)
                wanted, epoch = self.live.scaling.wanted, self.live.shards.epoch
                self.live = self._new_group(replace(self._settings, num_shards=wanted), epoch)
                self._on_change()
                try:
                    await self._restoration.start(self.live, wanted)
                except HogwildError as failure:
                    raise ClusterError(f"{error} No other could be started: {failure}") from failure
                self._on_change()
                self._report_progress("ready")

    @property
    def restoring(self) -> bool:
        """Whether there are no shards, and others are being started."""
        return self._restoration.active

    @property
    def shards(self) -> ShardSet:
        """The shards.

        Raises:
            ClusterError: there are none right now.
        """
        if self.restoring:
            raise ClusterError(
                "The group's shards were lost and are started again; try again in a moment."
            )
        return self.live.shards

    @property
    def scaling(self) -> Scaling:
        """What changes the number of shards."""
        return self.live.scaling

    @property
    def info(self) -> GroupInfo:
        """A description of the group.

        Raises:
            ClusterError: there are no shards right now.
        """
        shards = self.shards
        return GroupInfo(
            settings=replace(self._settings, num_shards=self.scaling.wanted),
            shards=tuple(member.info for member in shards.members),
            epoch=shards.epoch,
        )

    def send(self, command: Command) -> None:
        """Send a command to the shards; the journal keeps it while they cannot carry it out."""
        if not self._restoration.holds(command):
            self.live.sender.send(command)

    def publish(self, publication: Publication) -> Iterator[Sequence[Update]]:
        """Add a publication of a shard.

        Yields:
            The updates that can be shown now, which the journal then has.
        """
        for updates in self.live.publish(publication):
            yield updates
            self._restoration.go_on(self.live)

    def _new_group(self, settings: GroupSettings, epoch: int) -> LiveGroup:
        shards = self._new_shards()
        shards.epoch = epoch
        return LiveGroup(
            shards,
            settings,
            report_progress=self._report_progress,
            on_change=self._on_change,
        )
