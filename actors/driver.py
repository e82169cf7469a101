"""The driver: places the shards, forms their group, admits sessions, keeps the journal.

It is never in the token loop: shards run on their own from the first session to the last, and
tell the driver what they have agreed on.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.errors import ClusterError, plain
from actors.journal import Journal, SessionSummary
from actors.metrics import DriverMetrics
from actors.placing import gpus_per_shard, reserve
from actors.settings import NAMESPACE, GroupSettings
from actors.shard import Shard, ShardInfo, ShardStatus
from hogwild_dist.commands import Cancel, Command, Open
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.exchange.group import Membership, serve_store
from hogwild_dist.replay import RowComparison
from hogwild_dist.spec import SessionSpec
from hogwild_dist.stream import Update
from hogwild_dist.timeline import Span
from hogwild_dist.trace_format import Trace

log = logging.getLogger("hogwild_dist.driver")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupInfo:
    """A group of shards that is ready.

    Attributes:
        settings: that it was started with.
        shards: by rank.
        epoch: number of the membership.
    """

    settings: GroupSettings
    shards: tuple[ShardInfo, ...]
    epoch: int


class Driver:
    """Ray actor; all its methods run on one event loop.

    Args:
        settings: of the group.
        name: of a detached driver, or None where it belongs to its client.
    """

    def __init__(self, settings: GroupSettings, name: str | None) -> None:
        self._settings = settings
        self._name = name
        self._journal = Journal()
        self._metrics = DriverMetrics()
        self._progress = "starting"
        self._epoch = 0
        self._info: GroupInfo | None = None
        self._lost: str | None = None
        self._room: PlacementGroup | None = None
        self._shards: list[Any] = []
        self._num_commands = 0
        self._num_sessions = 0
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> GroupInfo:
        """Place the shards, load the model on each, and form their group.

        Raises:
            ClusterError: the cluster is too small, or lost a shard; nothing is left running.
            HogwildError: the model cannot be loaded, or the shards are not alike.
        """
        try:
            self._tell(f"placing {self._settings.num_shards} shards")
            self._room = await reserve(self._settings, self._name, self._tell)
            self._shards = [self._new_shard(index) for index in range(self._settings.num_shards)]
            infos = await self._load()
            self._tell("forming the group")
            await self._form()
        except BaseException as error:
            self._release()
            if isinstance(error, Exception):
                raise plain(error) from None
            raise
        self._info = GroupInfo(settings=self._settings, shards=tuple(infos), epoch=self._epoch)
        self._metrics.live_shards.set(len(self._shards))
        self._tell("ready")
        self._tasks = [
            asyncio.create_task(self._keep_running()),
            asyncio.create_task(self._watch_leases()),
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

    async def open(self, spec: SessionSpec, *, recorded: bool, label: str) -> int:
        """Start a session on all shards; returns its id.

        Raises:
            ClusterError: the group is not ready, or lost.
        """
        self._check_ready()
        self._num_sessions += 1
        session = self._num_sessions
        self._journal.begin(session, label, [worker.name for worker in spec.workers])
        self._metrics.sessions.set(len(self._journal.open_records))
        self._send(Open(session=session, spec=spec, recorded=recorded))
        log.info("session %d opened: %s", session, label)
        return session

    async def cancel(self, session: int) -> None:
        """End a session at the same step on all shards.

        Raises:
            ConfigError: there is none of that number.
        """
        self._check_known(session)
        if not self._journal.records[session].ended:
            self._send(Cancel(session=session))

    async def read(
        self, session: int, cursor: int, seconds: float
    ) -> tuple[list[Update], bool, str | None]:
        """Updates of a session from `cursor` on; waits up to `seconds` where there is none yet.

        Returns:
            The updates, whether the session has ended with them, and what went wrong, if anything.

        Raises:
            ConfigError: there is no session of that number.
        """
        self._check_known(session)
        updates, ended = await self._journal.read(session, cursor, seconds)
        return updates, ended, self._journal.records[session].error

    async def sessions(self) -> list[SessionSummary]:
        """All sessions that the journal holds."""
        return [record.summary() for record in self._journal.records.values()]

    async def status(self) -> list[ShardStatus]:
        """What each shard holds, by rank."""
        return await _all(shard.status.remote() for shard in self._shards)

    async def timelines(self) -> list[list[Span]]:
        """Where each shard's time went, by rank."""
        return await _all(shard.timeline.remote() for shard in self._shards)

    async def checksums(self, session: int) -> list[dict[str, int]]:
        """Of a session's blocks, by rank, once every shard has ended it; for audits."""
        while any(session in status.sessions for status in await self.status()):
            await asyncio.sleep(0.05)
        return await _all(shard.checksums.remote(session) for shard in self._shards)

    async def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Feed a trace's tokens; all comparisons, by step and worker."""
        parts = await _all(shard.replay_fed.remote(trace) for shard in self._shards)
        rows = [row for part in parts for row in part]
        return sorted(rows, key=lambda row: (row.step, row.worker))

    async def replay_free(self, trace: Trace) -> list[list[str]]:
        """Let the group choose; what came out otherwise than recorded, from every shard."""
        parts = await _all(shard.replay_free.remote(trace) for shard in self._shards)
        steps = zip(*parts, strict=True)
        return [list(dict.fromkeys(line for part in step for line in part)) for step in steps]

    async def publish(self, updates: Sequence[Update]) -> None:
        """Take in what the shards agreed on; rank 0 calls it."""
        self._journal.add(updates)
        self._metrics.sessions.set(len(self._journal.open_records))

    async def stop(self) -> None:
        """End the shards and give their room back."""
        for task in self._tasks:
            task.cancel()
        self._lost = "the group was stopped"
        self._journal.fail("The group was stopped.")
        self._release()

    def _tell(self, progress: str) -> None:
        self._progress = progress
        log.info(progress)

    def _new_shard(self, index: int) -> Any:
        name = f"{self._name}/shard-{index}" if self._name else None
        assert self._room is not None, "room is reserved before"
        strategy = PlacementGroupSchedulingStrategy(self._room, placement_group_bundle_index=index)
        remote: Any = ray.remote(concurrency_groups={"control": 2})(Shard)  # type: ignore[call-overload]
        return remote.options(
            num_cpus=self._settings.cpus_per_shard,
            num_gpus=gpus_per_shard(self._settings),
            scheduling_strategy=strategy,
            name=name,
            namespace=NAMESPACE,
            lifetime="detached" if name else None,
            max_restarts=0,
        ).remote(index, self._settings.shard)

    async def _load(self) -> list[ShardInfo]:
        """Load the model everywhere; ranks go by node, so that neighbours share one."""
        self._tell(f"starting {len(self._shards)} processes")
        nodes = await _all(shard.node.remote() for shard in self._shards)
        order = sorted(range(len(nodes)), key=lambda index: (nodes[index], index))
        self._shards = [self._shards[index] for index in order]
        on_node = Counter(nodes)
        self._tell(f"loading {self._settings.shard.model} on {len(nodes)} shards")
        return await _all(
            shard.load.remote(on_node[nodes[index]])
            for shard, index in zip(self._shards, order, strict=True)
        )

    async def _form(self) -> None:
        """Give every shard its rank in a new epoch."""
        self._epoch += 1
        host = ray.util.get_node_ip_address()
        self._store = serve_store(host)
        this = ray.get_runtime_context().current_actor
        await _all(
            shard.join.remote(
                Membership(
                    epoch=self._epoch,
                    rank=rank,
                    world_size=len(self._shards),
                    store_host=host,
                    store_port=self._store.port,
                    timeout_seconds=self._settings.shard.timeout_seconds,
                ),
                this,
            )
            for rank, shard in enumerate(self._shards)
        )

    def _send(self, command: Command) -> None:
        """Number a command and send it to every shard."""
        self._num_commands += 1
        for shard in self._shards:
            shard.command.remote(self._num_commands, command)
        self._wanted.set()

    async def _keep_running(self) -> None:
        """Let the shards run whenever a command waits."""
        applied = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while applied < self._num_commands:
                try:
                    results = await _all(shard.run.remote() for shard in self._shards)
                except Exception as error:
                    self._lose(error)
                    return
                applied = min(results)

    def _lose(self, error: Exception) -> None:
        """A shard is lost: what was written stays in the journal, and nothing is left running."""
        self._lost = str(plain(error))
        log.error("the group is lost: %s", self._lost)
        self._journal.fail(self._lost)
        self._release()

    async def _watch_leases(self) -> None:
        """Cancel sessions whose client has gone."""
        while True:
            await asyncio.sleep(min(1.0, self._settings.lease_seconds / 4))
            late = time.monotonic() - self._settings.lease_seconds
            for record in self._journal.open_records:
                if record.asked < late and not record.abandoned:
                    log.warning("session %d: its client has gone", record.id)
                    record.abandoned = True
                    self._send(Cancel(session=record.id))

    def _release(self) -> None:
        for shard in self._shards:
            ray.kill(shard)
        self._shards = []
        self._metrics.live_shards.set(0)
        self._metrics.sessions.set(0)
        if self._room is not None:
            remove_placement_group(self._room)
            self._room = None

    def _check_ready(self) -> None:
        if self._lost is not None:
            raise ClusterError(f"The group of shards is lost: {self._lost}")
        if self._info is None:
            raise ClusterError(f"The group of shards is not ready yet ({self._progress}).")

    def _check_known(self, session: int) -> None:
        if session not in self._journal.records:
            known = ", ".join(map(str, self._journal.records)) or "none"
            raise ConfigError(f"There is no session {session}; known are: {known}.")


async def _all(references: Any) -> list[Any]:
    """Await references side by side; the most telling error of those that come at once is raised.

    When a shard dies, its peers fail too, a moment before or after it.
    """
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(_one(reference)) for reference in references
    ]
    if not waiting:
        return []
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
    if pending:
        more, pending = await asyncio.wait(pending, timeout=1.0)
        done |= more
        for task in pending:
            task.cancel()
    errors = [error for task in done if (error := task.exception()) is not None]
    if errors:
        raise max(errors, key=_telling)
    return [task.result() for task in waiting]


async def _one(reference: Any) -> Any:
    return await reference


def _telling(error: BaseException) -> int:
    """How much an error says of what happened: a death, a failure, a peer that was lost."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return 0 if isinstance(cause, HogwildError) and "lost its peers" in str(cause) else 1
    return 2
