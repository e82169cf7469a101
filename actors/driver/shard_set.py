"""The shards of a group as its driver sees them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from hogwild_dist.actors.errors import ClusterError, death, is_death, plain
from hogwild_dist.actors.placement.cleanup import shard_name
from hogwild_dist.actors.placement.placement_group import gpus_per_shard, reserve
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings
from hogwild_dist.actors.shard.shard import Shard, ShardInfo
from hogwild_dist.errors import PeersLostError
from hogwild_dist.exchange.process_group import Membership, serve_store


@dataclass(frozen=True, eq=False, slots=True)
class ShardHandle:
    """A shard of the group.

    Attributes:
        actor: handle of the shard actor.
        info: description of the shard.
    """

    actor: Any
    info: ShardInfo

    def call(self, method: str, *arguments: Any) -> Awaitable[Any]:
        """Call a method of the shard.

        Returns:
            The result, once it is awaited; as an argument of another call, it goes to that shard
            and not through this process.
        """
        reference: Awaitable[Any] = getattr(self.actor, method).remote(*arguments)
        return reference

    def kill(self) -> None:
        """End the shard's process; nothing is awaited."""
        ray.kill(self.actor)


class ShardSet:
    """Shard actors of a group.

    Args:
        settings: settings of the group.
        name: name of a detached driver, or None if its client owns the group.
        report_progress: called with each line of progress.

    Attributes:
        host: address of the driver, where the shards meet.
        epoch: number of the membership, from 1 on; 0 before the start.
        members: the shards of the group, by rank; empty until the model is loaded.
        store: store in which the shards of the present epoch met.
    """

    def __init__(
        self, settings: GroupSettings, name: str | None, report_progress: Callable[[str], None]
    ) -> None:
        self.host: str = ray.util.get_node_ip_address()
        self.epoch = 0
        self.members: list[ShardHandle] = []
        self.store: Any = None
        self._settings = settings
        self._name = name
        self._report_progress = report_progress
        self._placement_group: PlacementGroup | None = None
        self._actors: list[Any] = []
        self._start_task: asyncio.Task[None] | None = None

    async def start(self, driver: Any) -> None:
        """Place the shards, load the model on each of them and form their group.

        Args:
            driver: handle of the driver, to which rank 0 publishes updates.

        Raises:
            ClusterError: the cluster is too small, a shard died, or the start was cancelled.
            HogwildError: the model cannot be loaded, or the shards' software or settings differ.
        """
        self._start_task = asyncio.create_task(self._start(driver))
        try:
            await self._start_task
        except asyncio.CancelledError:
            raise ClusterError("The group was stopped before it was ready.") from None

    async def cancel_start(self) -> None:
        """Cancel a running start, and wait until `release` can free all that it reserved."""
        if self._start_task is not None:
            self._start_task.cancel()
            await asyncio.wait([self._start_task])

    async def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every shard and return the results, by rank.

        Raises:
            ClusterError: a shard died.
            HogwildError: a shard raised it.
        """
        members = list(self.members)  # a loss may change them meanwhile
        actors = [member.actor for member in members] or self._actors
        references = (getattr(shard, method).remote(*arguments) for shard in actors)
        return await self._gather(references, [member.info.node for member in members])

    def send(self, method: str, *arguments: Any) -> None:
        """Call a method of every shard without waiting for the results."""
        for member in self.members:
            getattr(member.actor, method).remote(*arguments)

    def error_of(self, member: ShardHandle, error: Exception) -> Exception:
        """Return an error that names a shard of the present group if the shard died."""
        return _named(error, self.members.index(member), member.info.node)

    def release(self) -> None:
        """Kill the shards and free their resources."""
        for shard in self._actors:
            ray.kill(shard)
        self._actors, self.members = [], []
        if self._placement_group is not None:
            remove_placement_group(self._placement_group)
            self._placement_group = None

    async def _start(self, driver: Any) -> None:
        count = self._settings.num_shards
        self._report_progress(f"placing {count} shard{'s' * (count > 1)}")
        self._placement_group = await reserve(self._settings, self._name, self._report_progress)
        self._actors = [self._new_shard(index) for index in range(count)]
        await self._load()
        self._report_progress("forming the group")
        await self._form(driver)

    def _new_shard(self, index: int) -> Any:
        name = shard_name(self._name, index) if self._name else None
        assert self._placement_group is not None, "shards start after their placement group"
        strategy = PlacementGroupSchedulingStrategy(
            self._placement_group, placement_group_bundle_index=index
        )
        groups = {"control": 2, "forming": 4, "life": 1}
        remote: Any = ray.remote(concurrency_groups=groups)(Shard)  # type: ignore[call-overload]
        return remote.options(
            num_cpus=self._settings.cpus_per_shard,
            num_gpus=gpus_per_shard(self._settings),
            scheduling_strategy=strategy,
            name=name,
            namespace=NAMESPACE,
            lifetime="detached" if name else None,
            max_restarts=0,
        ).remote(index, self._settings.shard, self._name)

    async def _load(self) -> None:
        """Rank the shards by node, so that neighbours share a node, and load the model on each."""
        count = len(self._actors)
        self._report_progress(f"starting {count} process{'es' * (count > 1)}")
        nodes = await self.call("node")
        order = sorted(range(len(nodes)), key=lambda index: (nodes[index], index))
        self._actors = [self._actors[index] for index in order]
        shards_by_node = Counter(nodes)
        where = f"{count} shard{'s' * (count > 1)}"
        self._report_progress(f"loading {self._settings.shard.model} on {where}")
        infos = await self._gather(
            shard.load.remote(shards_by_node[nodes[index]])
            for shard, index in zip(self._actors, order, strict=True)
        )
        self.members = [ShardHandle(*pair) for pair in zip(self._actors, infos, strict=True)]

    async def _form(self, driver: Any) -> None:
        """Make every shard join the group of a new epoch."""
        self.epoch += 1
        self.store = serve_store(self.host)
        await self._gather(
            shard.join.remote(
                Membership(
                    epoch=self.epoch,
                    rank=rank,
                    world_size=len(self._actors),
                    store_host=self.host,
                    store_port=self.store.port,
                    timeout_seconds=self._settings.shard.timeout_seconds,
                ),
                driver,
            )
            for rank, shard in enumerate(self._actors)
        )

    async def _gather(self, references: Any, nodes: Sequence[str] = ()) -> list[Any]:
        """Await references concurrently; of several errors, raise the most specific one.

        When a shard dies, its peers fail too, shortly before or after it.

        Args:
            references: a call of each shard.
            nodes: address of each shard's node, for errors; empty if they are not known yet.
        """
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(_await(reference)) for reference in references
        ]
        if not tasks:
            return []
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if pending:
            also_done, pending = await asyncio.wait(pending, timeout=1.0)
            done |= also_done
            for task in pending:
                task.cancel()
        errors = {
            rank: error
            for rank, task in enumerate(tasks)
            if task in done and isinstance(error := task.exception(), Exception)
        }
        if errors:
            rank = max(errors, key=lambda rank: _specificity(errors[rank]))
            raise _named(errors[rank], rank, nodes[rank] if nodes else None) from None
        return [task.result() for task in tasks]


def _named(error: Exception, rank: int, node: str | None) -> Exception:
    """Return an error that names the shard if it died, and its node if that is known."""
    if not is_death(error):
        return plain(error)
    return death(f"Shard {rank}" if node is None else f"Shard {rank} on node {node}", error)


async def _await(reference: Any) -> Any:
    return await reference


def _specificity(error: BaseException) -> int:
    """Return how specific an error is: 2 a shard died, 1 a shard failed, 0 it lost its peers."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return 0 if isinstance(cause, PeersLostError) else 1
    return 2
