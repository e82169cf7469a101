"""`LiveGroup`: the shards of a driver, from their start until all of them are lost."""

import asyncio
from collections.abc import Callable, Sequence

from hogwild_dist.actors.driver.command_sender import CommandSender
from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.recovery import Recovery
from hogwild_dist.actors.driver.regrouping import Formed
from hogwild_dist.actors.driver.scaling import Scaling
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import Pause
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.updates import Update


class LiveGroup:
    """Shards that run, and what keeps them running.

    Args:
        shards: the shards, before their start.
        settings: settings of the group.
        report_progress: called with each line of progress.
        on_change: called when shards have joined or left.

    Attributes:
        shards: the shard actors.
        sender: sends commands to them.
        scaling: lets shards join and leave.
    """

    def __init__(
        self,
        shards: ShardSet,
        settings: GroupSettings,
        *,
        report_progress: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        goes_on = settings.shard.engine.visibility is not Visibility.OVERLAPPED
        self._on_change = on_change
        self.shards = shards
        self._publications = Publications()
        self._publications.begin(shards.epoch + 1)
        self.recovery = Recovery(
            self.shards,
            self._publications,
            timeout_seconds=settings.shard.timeout_seconds,
            goes_on=goes_on,
            pause=lambda epoch: self.sender.send(Pause(epoch=epoch)),
            on_regrouped=self._go_on,
        )
        self.sender = CommandSender(self.shards, self.recovery.lose)
        self.scaling = Scaling(
            self.shards,
            self.recovery,
            wanted=settings.num_shards,
            possible=goes_on,
            report_progress=report_progress,
        )

    async def start(self, count: int) -> None:
        """Start a number of shards; see `ShardSet.start`."""
        await self.shards.start(count)

    async def keep(self) -> None:
        """Look after the shards until all of them are lost; then none is left.

        Raises:
            AllLostError: all shards are lost.
            HogwildError: the group cannot go on for another reason.
        """
        tasks = [
            asyncio.create_task(self.recovery.keep_going()),
            asyncio.create_task(self.sender.keep_running()),
            asyncio.create_task(self.scaling.keep()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self.end()

    def publish(self, publication: Publication) -> list[Sequence[Update]]:
        """Add a publication of a shard; return the updates that can be shown now, in order."""
        released = self._publications.put(publication)
        if (agreed := self._publications.completed.agreed) is not None:
            self.sender.forget(agreed.command)
        return released

    def end(self) -> None:
        """End all shards and free their resources."""
        self.scaling.end()
        self.shards.release()

    def _go_on(self, formed: Formed[ShardHandle], lost: list[ShardHandle]) -> None:
        """Tell the shards of a new group what they lack, and let them run."""
        for member in lost:
            self.sender.leave(member)
            self.shards.remove(member)
        if lost:
            self.scaling.wake()
        self._on_change()
        for member, command in zip(formed.members, formed.commands, strict=True):
            self.sender.send_again(member, command)
