"""The shards of a group as its driver sees them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from hogwild_dist.actors.driver.answers import gather, named
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.placement.cleanup import kill_leftovers, shard_name
from hogwild_dist.actors.placement.placement_group import gpus_per_shard
from hogwild_dist.actors.placement.places import Place, Places
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings
from hogwild_dist.actors.shard.shard import Shard, ShardInfo
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange.process_group import Membership, difference, serve_store

ALONE = 0
"""Number of the membership of a shard that is to join a group, and is alone until then."""


@dataclass(frozen=True, eq=False, slots=True)
class ShardHandle:
    """A shard of the group.

    Attributes:
        actor: handle of the shard actor.
        place: where it runs.
        info: description of the shard.
    """

    actor: Any
    place: Place
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


def call(member: ShardHandle, method: str, *arguments: Any) -> Awaitable[Any]:
    """Call a method of a shard; see `ShardHandle.call`."""
    return member.call(method, *arguments)


class ShardSet:
    """Shard actors of a group.

    Args:
        settings: settings of the group.
        name: name of a detached driver, or None if its client owns the group.
        driver: handle of the driver, to which rank 0 publishes updates.
        report_progress: called with each line of progress.

    Attributes:
        host: address of the driver, where the shards meet.
        epoch: number of the membership, from 1 on; 0 before the start.
        members: the shards of the group, by rank; empty until the model is loaded.
        store: store in which the shards of the present epoch met.
    """

    def __init__(
        self,
        settings: GroupSettings,
        name: str | None,
        driver: Any,
        report_progress: Callable[[str], None],
    ) -> None:
        self.host: str = ray.util.get_node_ip_address()
        self.epoch = 0
        self.members: list[ShardHandle] = []
        self.store: Any = None
        self._settings = settings
        self._name = name
        self._driver = driver
        self._report_progress = report_progress
        self._places = Places(settings, name, report_progress)
        self._actors: dict[Any, Place] = {}
        self._num_started = 0
        self._start_task: asyncio.Task[None] | None = None

    async def start(self, count: int) -> None:
        """Place the shards, load the model on each of them and form their group.

        Args:
            count: number of shards.

        Raises:
            ClusterError: the cluster is too small, a shard died, or the start was cancelled.
            HogwildError: the model cannot be loaded, or the shards' software or settings differ.
        """
        self._start_task = asyncio.create_task(self._start(count))
        try:
            await self._start_task
        except asyncio.CancelledError:
            if (caller := asyncio.current_task()) and caller.cancelling():
                raise
            raise ClusterError("The group was stopped before it was ready.") from None

    async def cancel_start(self) -> None:
        """Cancel a running start, and wait until `release` can free all that it reserved."""
        if self._start_task is not None:
            self._start_task.cancel()
            await asyncio.wait([self._start_task])

    async def add(self, count: int, in_place_of: Sequence[ShardHandle] = ()) -> list[ShardHandle]:
        """Start shards that are ready to join the group; until then, each is alone.

        Args:
            count: number of shards.
            in_place_of: members that leave when these shards join.

        Raises:
            ClusterError: the cluster is too small, or a shard died; nothing of them is left.
            HogwildError: the model cannot be loaded, or software or settings differ.
        """
        actors = await self._start_actors(count)
        try:
            added = await self._load(actors, in_place_of)
            self._check_alike(added)
            self._report_progress("copying sessions")
            store = serve_store(self.host)
            places = [replace(self._membership(store, 1), epoch=ALONE - at) for at in range(count)]
            joins = [
                one.call("join", place, self._driver)
                for one, place in zip(added, places, strict=True)
            ]
            await gather(joins, [one.info.node for one in added])
            return added
        except BaseException:
            for actor in actors:
                self._drop(actor)
            self.shrink()
            raise

    def remove(self, handle: ShardHandle) -> None:
        """End a shard that is no member any more, and free its place."""
        self._drop(handle.actor)

    def shrink(self) -> None:
        """Release resources that no shard uses; Ray gives back those of whole placement groups."""
        self._places.shrink()

    async def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every shard and return the results, by rank.

        Raises:
            ClusterError: a shard died.
            HogwildError: a shard raised it.
        """
        members = list(self.members)  # a loss may change them meanwhile
        references = [member.call(method, *arguments) for member in members]
        return await gather(references, [member.info.node for member in members])

    def send(self, method: str, *arguments: Any) -> None:
        """Call a method of every shard without waiting for the results."""
        for member in self.members:
            member.call(method, *arguments)

    def error_of(self, member: ShardHandle, error: Exception) -> Exception:
        """Return an error that names a shard of the present group if the shard died."""
        return named(error, self.members.index(member), member.info.node)

    def release(self) -> None:
        """Kill the shards and free their resources."""
        for actor in list(self._actors):
            self._drop(actor)
        self.members = []
        self._places.release()

    async def _start(self, count: int) -> None:
        if self._name:
            await kill_leftovers(self._name)
        actors = await self._start_actors(count)
        self.members = await self._load(actors)
        self._report_progress("forming the group")
        self.epoch += 1
        self.store = serve_store(self.host)
        first = self._membership(self.store, count)
        await gather(
            member.call("join", replace(first, rank=rank), self._driver)
            for rank, member in enumerate(self.members)
        )

    async def _start_actors(self, count: int) -> list[Any]:
        self._report_progress(f"placing {count} shard{'s' * (count > 1)}")
        places = await self._places.take(count)
        actors = [self._new_actor(place) for place in places]
        self._actors |= dict(zip(actors, places, strict=True))
        return actors

    def _new_actor(self, place: Place) -> Any:
        index = self._num_started
        self._num_started += 1
        name = shard_name(self._name, index) if self._name else None
        groups = {"control": 2, "forming": 4, "copying": 1, "life": 1}
        remote: Any = ray.remote(concurrency_groups=groups)(Shard)  # type: ignore[call-overload]
        return remote.options(
            num_cpus=self._settings.cpus_per_shard,
            num_gpus=gpus_per_shard(self._settings),
            scheduling_strategy=place.strategy,
            name=name,
            namespace=NAMESPACE,
            lifetime="detached" if name else None,
            max_restarts=0,
        ).remote(index, self._settings.shard, self._name)

    async def _load(
        self, actors: Sequence[Any], in_place_of: Sequence[ShardHandle] = ()
    ) -> list[ShardHandle]:
        """Order shards by node, so that neighbours share a node, and load the model on each."""
        count = len(actors)
        self._report_progress(f"starting {count} process{'es' * (count > 1)}")
        nodes = await gather([actor.node.remote() for actor in actors])
        order = sorted(range(count), key=lambda index: (nodes[index], index))
        staying = [member.info.node for member in self.members if member not in in_place_of]
        shards_by_node = Counter([*nodes, *staying])
        where = f"{count} shard{'s' * (count > 1)}"
        self._report_progress(f"loading {self._settings.shard.model} on {where}")
        infos = await gather(
            [actors[index].load.remote(shards_by_node[nodes[index]]) for index in order]
        )
        return [
            ShardHandle(actors[index], self._actors[actors[index]], info)
            for index, info in zip(order, infos, strict=True)
        ]

    def _check_alike(self, added: Sequence[ShardHandle]) -> None:
        """Check that shards have the same software, model and settings as the group."""
        first = self.members[0].info.configuration
        for handle in added:
            if found := difference(first, handle.info.configuration):
                key, ours, theirs = found
                raise ExchangeError(
                    f"The group has {key} {ours} and a new shard on node {handle.info.node} has "
                    f"{theirs}; use the same on all nodes."
                )

    def _membership(self, store: Any, world_size: int) -> Membership:
        return Membership(
            epoch=self.epoch,
            rank=0,
            world_size=world_size,
            store_host=self.host,
            store_port=store.port,
            timeout_seconds=self._settings.shard.timeout_seconds,
        )

    def _drop(self, actor: Any) -> None:
        """End a shard and free its place."""
        place = self._actors.pop(actor, None)
        if place is not None:
            ray.kill(actor)
            self._places.give_back(place)
