"""The driver actor: places the shards, forms their group, opens sessions and keeps the journal.

The driver is not in the token loop: shards run on their own while there are sessions, and rank 0
publishes to the driver the updates on which all of them agree.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial

import ray

from hogwild_dist.actors.driver.durable_log import DurableLog, log_url
from hogwild_dist.actors.driver.group_keeper import GroupKeeper
from hogwild_dist.actors.driver.inspection import Inspection
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.lifecycle import READABLE_SECONDS, STOPPED, Lifecycle, probe
from hogwild_dist.actors.driver.scaling import Scaling
from hogwild_dist.actors.driver.session_calls import SessionCalls
from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.actors.errors import ClusterError, LostError, plain, reason_of
from hogwild_dist.actors.logs import write_structured
from hogwild_dist.actors.metrics import DriverMetrics
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.actors.watched import watch
from hogwild_dist.engine.commands import Cancel
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.errors import HogwildError
from hogwild_dist.session.termination import FAILED
from hogwild_dist.team.session_request import SessionRequest

ANSWER_SECONDS = 0.5
"""Time in which clients that wait for updates get the answer that the group was stopped."""

log = logging.getLogger("hogwild_dist.driver")


class Driver(SessionCalls, Inspection):
    """Ray actor that controls a group of shards; its work is done in one event loop.

    Reads are calls of a concurrency group of their own, so that clients that wait for updates do
    not keep other calls waiting.

    Args:
        settings: settings of the group.
        name: name of a detached driver, or None if its client owns it.
    """

    def __init__(self, settings: GroupSettings, name: str | None) -> None:
        write_structured(group=name)
        self._settings = settings
        self._name = name
        self._journal = Journal(settings.kept_sessions, settings.kept_bytes)
        self._lifecycle = Lifecycle(settings, self._journal, self._cancel, self._end)
        self._metrics = DriverMetrics(name)
        self._progress = "starting"
        self._lost_reason: str | None = None
        self._keeper = GroupKeeper(
            settings,
            self._new_shards,
            self._journal,
            report_progress=self._report_progress,
            on_change=self._observe_group,
        )
        self._log = self._new_log()
        self._ready = False
        self._num_sessions = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> GroupInfo:
        """Place the shards, load the model on each of them and form their group.

        Raises:
            ClusterError: the cluster is too small or a shard died; nothing is left running.
            HogwildError: the model cannot be loaded, or the shards' software or settings differ, or
                those of the journal's sessions.
        """
        self._loop = asyncio.get_running_loop()
        try:
            if self._log is not None:
                await self._log.open()
                self._log.check(self._replayed_with)  # before a model is loaded
            await self._keeper.start()
            if self._log is not None:
                await self._bring_back(self._log)
        except BaseException as error:
            self._lost_reason = str(plain(error)) if isinstance(error, Exception) else "not started"
            self._release()
            if isinstance(error, Exception):
                raise plain(error) from None
            raise
        self._ready = True
        self._observe_group()
        self._report_progress("ready")
        self._tasks = [
            asyncio.create_task(self._keeper.keep()),
            asyncio.create_task(self._lifecycle.watch()),
        ]
        for task in self._tasks:
            watch(task, self._fail)
        return self._keeper.info

    def _new_shards(self) -> ShardSet:
        handle = ray.get_runtime_context().current_actor
        return ShardSet(self._settings, self._name, handle, self._report_progress)

    def _new_log(self) -> DurableLog | None:
        if self._settings.journal is None or self._name is None:
            return None
        return DurableLog(log_url(self._settings.journal, self._name), self._fail)

    async def _bring_back(self, durable: DurableLog) -> None:
        """Go on with the sessions that an earlier driver has left in the log."""
        replayed_with = {**self._shards.members[0].info.replayed_with, **self._replayed_with}
        self._num_sessions = await durable.begin(self._journal, self._settings, replayed_with)
        self._keeper.replay()

    @property
    def _replayed_with(self) -> dict[str, str]:
        """The part of the settings that the tokens of a session depend on."""
        engine = self._settings.shard.engine
        return {
            "visibility": engine.visibility.value,
            "max_step_tokens": str(engine.max_step_tokens),
        }

    @property
    def _shards(self) -> ShardSet:
        return self._keeper.shards

    async def progress(self) -> str:
        """Return a few words about what the driver is doing."""
        return self._progress

    async def info(self) -> GroupInfo:
        """Return a description of the group.

        Raises:
            ClusterError: the group is not ready, or lost.
        """
        self._check_ready()
        return self._keeper.info

    async def settings(self) -> GroupSettings:
        """Return the settings with which the group was started."""
        return self._settings

    async def load(self) -> Load:
        """Return the group's load; health probes do not count."""
        running = self._journal.client_records
        return Load(
            running=len(running),
            waiting=sum(record.waiting for record in running),
            ready=self._has_written
            and self._lost_reason is None
            and not self._keeper.restoring
            and not self._lifecycle.retiring,
            restoring=self._keeper.restoring,
        )

    async def probe(self, request: SessionRequest, seconds: float) -> None:
        """Check that the group generates tokens, unless its shards are being started again.

        See `lifecycle.probe`.

        Args:
            request: a short session to open if no other session is generating.
            seconds: age at which the last token is too old, and time limit for a new one.

        Raises:
            ClusterError: no token was chosen in time, or the group is lost.
        """
        self._check_ready()
        if not self._lifecycle.retiring and not self._keeper.restoring:
            await probe(self._journal, partial(self._open, request, recorded=False), seconds)

    @property
    def _has_written(self) -> bool:
        """Whether the group has ever chosen a token."""
        return self._ready and self._journal.last_token > 0

    async def lease(self, holder: str, seconds: float) -> float:
        """Lease the group to a service replica, unless another one holds it; see `Lease.take`.

        A group that is starting or retiring cannot be leased: the time left is then infinite.
        """
        if self._lifecycle.retiring or (not self._ready and self._lost_reason is None):
            return math.inf
        return self._lifecycle.lease.take(holder, seconds, time.monotonic())

    async def retire(self, seconds: float) -> None:
        """Take no more sessions, and stop after the last one or after `seconds`."""
        self._lifecycle.retire(seconds)

    async def scale(self, count: int) -> GroupInfo:
        """Bring the group to a number of shards while its sessions go on; see `Scaling.scale`.

        Returns:
            A description of the group.
        """
        return await self._changed(lambda scaling: scaling.scale(count))

    async def renew(self) -> GroupInfo:
        """Replace all shards by new processes while sessions go on; see `Scaling.renew`.

        Returns:
            A description of the group.
        """
        return await self._changed(lambda scaling: scaling.renew())

    async def publish(self, publication: Publication) -> None:
        """Add updates to the journal; called by the shard of rank 0.

        Once this returns, the updates are shown, and no other outcome of their step can be.
        """
        for updates in self._keeper.publish(publication):
            for session in self._journal.add(updates):
                self._keeper.send(Cancel(session=session, reason=FAILED))
            self._metrics.count_ends(updates)
        self._observe_sessions()

    async def lose_peers(self, epoch: int, reason: str) -> None:
        """Note that a shard has lost its peers in an epoch; called by the shard."""
        self._keeper.live.recovery.lose_peers(epoch, reason)

    async def stop(self) -> None:
        """Stop the shards and free their resources."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._lost_reason = STOPPED
        read = any(record.readers for record in self._journal.open_records)
        self._journal.fail("The group was stopped.")
        await self._keeper.live.shards.cancel_start()
        self._release()
        if self._log is not None:
            await self._log.close()
        if read:  # who stops the group may end this process at once
            await asyncio.sleep(ANSWER_SECONDS)

    def _report_progress(self, progress: str) -> None:
        self._progress = progress
        log.info(progress)

    def _fail(self, error: Exception) -> None:
        """Fail all sessions after the first failure; their text stays in the journal."""
        if self._lost_reason is not None:
            return
        self._lost_reason = reason_of(error)
        unexpected = None if isinstance(plain(error), HogwildError) else error
        log.error("the group is lost: %s", self._lost_reason, exc_info=unexpected)
        self._journal.fail(self._lost_reason)
        self._release()

    async def _changed(self, change: Callable[[Scaling], Awaitable[None]]) -> GroupInfo:
        """Change the shards, and return a description of the group."""
        self._check_ready()
        try:
            await change(self._keeper.scaling)
        finally:
            self._observe_group()
        return self._keeper.info

    def _observe_group(self) -> None:
        shards = self._keeper.live.shards
        write_structured(group=self._name, epoch=shards.epoch)
        num_live = len(shards.members)
        self._metrics.live_shards.set(num_live)
        self._metrics.lost_shards.set(max(0, self._keeper.scaling.wanted - num_live))

    async def _end(self) -> None:
        """Stop the shards, and this actor after clients could read how their sessions ended."""
        await self.stop()
        await asyncio.sleep(READABLE_SECONDS)
        ray.kill(ray.get_runtime_context().current_actor)

    def _release(self) -> None:
        self._keeper.live.end()
        self._metrics.live_shards.set(0)
        self._observe_sessions()

    def _observe_sessions(self) -> None:
        running = self._journal.open_records
        self._metrics.observe(len(running), sum(record.waiting for record in running))

    def _check_ready(self) -> None:
        if self._lost_reason is not None:
            kind = ClusterError if self._lost_reason == STOPPED else LostError
            raise kind(f"The group of shards is lost: {self._lost_reason}")
        if not self._ready:
            raise ClusterError(
                f"The group of shards is not ready yet ({self._progress}); try again later."
            )
