"""The driver: places the shards, forms their group, admits sessions, keeps the journal.

It is never in the token loop: shards run on their own from the first session to the last, and
tell the driver what they have agreed on.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from functools import partial

import ray

from hogwild_dist.actors.driver.command_sender import CommandSender
from hogwild_dist.actors.driver.in_order import InOrder
from hogwild_dist.actors.driver.journal import Journal, Owner, SessionSnapshot, SessionSummary
from hogwild_dist.actors.driver.lifecycle import READABLE_SECONDS, Lifecycle, probe
from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.actors.errors import ClusterError, plain
from hogwild_dist.actors.logs import write_structured
from hogwild_dist.actors.metrics import DriverMetrics
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.actors.shard.info import GroupInfo, Load
from hogwild_dist.actors.shard.shard import ShardStatus
from hogwild_dist.engine.commands import ApplyChange, Cancel, Open
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import RowComparison
from hogwild_dist.session.changes import AddWorker, Change
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.timeline import Span

log = logging.getLogger("hogwild_dist.driver")


class Driver:
    """Ray actor; all its methods run on one event loop.

    Args:
        settings: of the group.
        name: of a detached driver, or None where it belongs to its client.
    """

    def __init__(self, settings: GroupSettings, name: str | None) -> None:
        write_structured(group=name)
        self._settings = settings
        self._name = name
        self._journal = Journal(settings.kept_sessions)
        self._lifecycle = Lifecycle(settings, self._journal, self._cancel, self._end)
        self._metrics = DriverMetrics(name)
        self._progress = "starting"
        self._info: GroupInfo | None = None
        self._lost_reason: str | None = None
        self._shards = ShardSet(settings, name, self._report_progress)
        self._command_sender = CommandSender(self._shards, self._fail)
        self._ordered_updates: InOrder[Sequence[Update]] = InOrder()
        self._num_sessions = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> GroupInfo:
        """Place the shards, load the model on each, and form their group.

        Raises:
            ClusterError: the cluster is too small, or lost a shard; nothing is left running.
            HogwildError: the model cannot be loaded, or the shards are not alike.
        """
        try:
            await self._shards.start(ray.get_runtime_context().current_actor)
        except BaseException as error:
            self._lost_reason = str(plain(error)) if isinstance(error, Exception) else "not started"
            self._release()
            if isinstance(error, Exception):
                raise plain(error) from None
            raise
        self._info = GroupInfo(
            settings=self._settings, shards=tuple(self._shards.infos), epoch=self._shards.epoch
        )
        write_structured(group=self._name, epoch=self._shards.epoch)
        self._metrics.live_shards.set(len(self._shards))
        self._report_progress("ready")
        self._tasks = [
            asyncio.create_task(self._command_sender.keep_running()),
            asyncio.create_task(self._lifecycle.watch()),
        ]
        return self._info

    async def progress(self) -> str:
        """What the driver is doing, in a few words."""
        return self._progress

    async def info(self) -> GroupInfo:
        """What the group is.

        Raises:
            ClusterError: it is not ready, or lost.
        """
        self._check_ready()
        assert self._info is not None
        return self._info

    async def open(
        self, request: SessionRequest, *, recorded: bool, owner: Owner | None = None
    ) -> int:
        """Start a session on all shards, as soon as there is room for it; returns its id.

        Args:
            request: what it starts from.
            recorded: whether its updates carry a trace's entries.
            owner: whose it is.

        Raises:
            ClusterError: the group is not ready, lost, or takes no more.
        """
        self._check_ready()
        if self._lifecycle.retiring:
            raise ClusterError("The group takes no more sessions: it ends with those it has.")
        self._num_sessions += 1
        session, owner = self._num_sessions, owner or Owner()
        self._journal.begin(session, request, owner, recorded=recorded)
        self._observe_sessions()
        self._command_sender.send(
            Open(session=session, spec=request.spec, recorded=recorded, tenant=owner.tenant)
        )
        fields: dict[str, object] = {"session": session}
        if self._settings.log_texts:
            fields["problem"] = self._journal.record(session).summary().label
        log.info("session opened", extra=fields)
        return session

    async def snapshot(self, session: int) -> SessionSnapshot:
        """All about a session so far but its single updates.

        Raises:
            ConfigError: there is none of that number.
        """
        return self._journal.snapshot(session)

    async def load(self) -> Load:
        """How much the group has to do; sessions that probe its health do not count."""
        running = self._journal.client_records
        return Load(
            running=len(running),
            waiting=sum(record.waiting for record in running),
            ready=self._has_written and self._lost_reason is None and not self._lifecycle.retiring,
        )

    async def probe(self, request: SessionRequest, seconds: float) -> None:
        """Prove that the group writes: within the time, some worker has to choose a token.

        Args:
            request: of a short session for when nobody else writes.
            seconds: how old the proof may be, and how long to wait for a new one.

        Raises:
            ClusterError: no token came, or the group is lost.
        """
        self._check_ready()
        if not self._lifecycle.retiring:
            await probe(self._journal, partial(self.open, request, recorded=False), seconds)

    @property
    def _has_written(self) -> bool:
        """Whether the group has written a token."""
        return self._info is not None and self._journal.last_token > 0

    async def lease(self, holder: str, seconds: float) -> float:
        """Let an adapter manage the group, unless another one does; see `Lease.take`.

        Nobody can while the group starts or ends.
        """
        if self._lifecycle.retiring or (self._info is None and self._lost_reason is None):
            return math.inf
        return self._lifecycle.lease.take(holder, seconds, time.monotonic())

    async def retire(self, seconds: float) -> None:
        """Take no more sessions, and end with the last one, or after so many seconds."""
        self._lifecycle.retire(seconds)

    async def cancel(self, session: int) -> None:
        """End a session at the same step on all shards.

        Raises:
            ConfigError: there is none of that number.
        """
        if not self._journal.record(session).ended:
            self._cancel(session, "cancelled")

    async def apply_change(self, session: int, change: Change, *, exclusive: bool = False) -> None:
        """Change a session at the same step on all shards; what comes of it is in its updates.

        Args:
            session: number of the session.
            change: what to do.
            exclusive: whether a worker may join only while no other is joining, so that its client
                knows all the others.

        Raises:
            ConfigError: there is none of that number, it has ended, or another worker is joining.
        """
        if self._journal.record(session).ended:
            raise ConfigError(f"Session {session} has ended; nothing can be changed in it.")
        if isinstance(change, AddWorker):
            self._journal.expect_join(session, exclusive=exclusive)
        self._command_sender.send(ApplyChange(session=session, change=change))

    async def read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        """Updates of a session from `cursor` on; waits up to `seconds` where there is none yet.

        Returns:
            The updates, whether the session has ended with them, and what went wrong, if anything.

        Raises:
            ConfigError: there is no session of that number.
        """
        record = self._journal.record(session)  # the journal may forget it meanwhile
        updates, ended = await self._journal.read(session, cursor, seconds)
        return updates, ended, record.error

    async def sessions(self) -> list[SessionSummary]:
        """All sessions that the journal holds."""
        return [record.summary() for record in self._journal.records.values()]

    async def status(self) -> list[ShardStatus]:
        """What each shard holds, by rank."""
        return await self._shards.call("status")

    async def timelines(self) -> list[list[Span]]:
        """Where each shard's time went, by rank."""
        return await self._shards.call("timeline")

    async def checksums(self, session: int) -> list[dict[str, int]]:
        """Of a session's blocks, by rank, once every shard has ended it; for audits."""
        while any(session in status.sessions for status in await self.status()):
            await asyncio.sleep(0.05)
        return await self._shards.call("checksums", session)

    async def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Feed a trace's tokens; all comparisons, by step and worker."""
        by_shard = await self._shards.call("replay_fed", trace)
        rows = [row for comparisons in by_shard for row in comparisons]
        return sorted(rows, key=lambda row: (row.step, row.worker))

    async def replay_free(self, trace: Trace) -> list[list[str]]:
        """Let the group choose; what came out otherwise than recorded, from every shard."""
        by_shard = await self._shards.call("replay_free", trace)
        steps = zip(*by_shard, strict=True)
        return [list(dict.fromkeys(line for lines in step for line in lines)) for step in steps]

    async def publish(self, number: int, updates: Sequence[Update]) -> None:
        """Take in what the shards agreed on; rank 0 calls it.

        Args:
            number: of the call, from 0 on; Ray may swap calls.
            updates: of some steps.
        """
        for ready in self._ordered_updates.put(number, updates):
            self._journal.add(ready)
            self._metrics.count_ends(ready)
        self._observe_sessions()

    async def stop(self) -> None:
        """End the shards and give their room back."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._lost_reason = "the group was stopped"
        self._journal.fail("The group was stopped.")
        await self._shards.cancel_start()
        self._release()

    def _report_progress(self, progress: str) -> None:
        self._progress = progress
        log.info(progress)

    def _fail(self, error: Exception) -> None:
        """A shard is lost: what was written stays in the journal, and nothing is left running."""
        self._lost_reason = str(plain(error))
        log.error("the group is lost: %s", self._lost_reason)
        self._journal.fail(self._lost_reason)
        self._release()

    def _cancel(self, session: int, reason: str) -> None:
        """End a session at the same step on all shards."""
        self._journal.record(session).cancelled = True
        self._command_sender.send(Cancel(session=session, reason=reason))

    async def _end(self) -> None:
        """End the shards, and this actor once clients have read how their sessions ended."""
        await self.stop()
        await asyncio.sleep(READABLE_SECONDS)
        ray.kill(ray.get_runtime_context().current_actor)

    def _release(self) -> None:
        self._shards.release()
        self._metrics.live_shards.set(0)
        self._observe_sessions()

    def _observe_sessions(self) -> None:
        running = self._journal.open_records
        self._metrics.observe(len(running), sum(record.waiting for record in running))

    def _check_ready(self) -> None:
        if self._lost_reason is not None:
            raise ClusterError(f"The group of shards is lost: {self._lost_reason}")
        if self._info is None:
            raise ClusterError(f"The group of shards is not ready yet ({self._progress}).")
