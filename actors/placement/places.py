"""`Places`: where the shards of a group run, one bundle of a placement group each."""

from collections.abc import Callable
from dataclasses import dataclass

from ray import PlacementGroupID
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from hogwild_dist.actors.placement.cleanup import placement_group_name
from hogwild_dist.actors.placement.nodes import staying_nodes
from hogwild_dist.actors.placement.placement_group import reserve
from hogwild_dist.actors.settings import GroupSettings


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Resources that Ray has reserved for one shard.

    Attributes:
        group: the placement group.
        index: index of the bundle in it.
    """

    group: PlacementGroup
    index: int

    @property
    def node_id(self) -> str | None:
        """Ray's id of the node; None while Ray looks for another node in place of a lost one."""
        nodes = placement_group_table(self.group)["bundles_to_node_id"]
        found: str | None = nodes.get(self.index)
        return found

    @property
    def strategy(self) -> PlacementGroupSchedulingStrategy:
        """How Ray is told to run an actor here."""
        return PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=self.index)


class Places:
    """Places of the shards of a group.

    A placement group cannot grow or shrink: shards that are added later have one of their own, and
    its resources are free again when none of its places is used.

    Args:
        settings: settings of the group.
        name: name of a detached driver, or None if its client owns the group.
        report_progress: called with each line of progress.
    """

    def __init__(
        self, settings: GroupSettings, name: str | None, report_progress: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._name = name
        self._report_progress = report_progress
        self._places: list[Place] = []
        self._free: list[Place] = []
        self._num_reserved = 0

    async def take(self, count: int) -> list[Place]:
        """Take places: those that became free first, and new ones.

        Raises:
            ClusterError: the cluster is too small.
        """
        usable = self._usable()
        missing = count - len(usable)
        if missing > 0:
            name = self._name and placement_group_name(self._name, self._num_reserved)
            group = await reserve(
                self._settings,
                missing,
                name,
                self._report_progress,
                further=self._num_reserved > 0,
            )
            self._num_reserved += 1
            places = [Place(group, index) for index in range(missing)]
            self._places += places
            self._free += places
            usable += places
        taken = usable[:count]
        self._free = [place for place in self._free if place not in taken]
        return taken

    def give_back(self, place: Place) -> None:
        """Make a place free for another shard."""
        self._free.append(place)

    def _usable(self) -> list[Place]:
        """Return the free places on nodes that are up, and are to stay so."""
        staying = staying_nodes() if self._free else set()
        return [place for place in self._free if place.node_id in staying]

    def shrink(self) -> None:
        """Release the resources of every placement group that no shard uses."""
        used = {place.group.id for place in self._places if place not in self._free}
        self._release({place.group.id for place in self._free} - used)

    def release(self) -> None:
        """Release all resources."""
        self._release({place.group.id for place in self._places})

    def _release(self, groups: set[PlacementGroupID]) -> None:
        gone = [place for place in self._places if place.group.id in groups]
        for group in {place.group.id: place.group for place in gone}.values():
            remove_placement_group(group)
        self._places = [place for place in self._places if place not in gone]
        self._free = [place for place in self._free if place not in gone]
