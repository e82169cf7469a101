"""Pure functions that decide whether a group fits on a cluster's free resources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCapacity:
    """CPUs and GPUs of one node.

    Attributes:
        address: address of the node.
        cpus: number of free CPUs.
        gpus: number of free GPUs.
    """

    address: str
    cpus: float
    gpus: float


def shards_that_fit(nodes: Sequence[NodeCapacity], cpus: float, gpus: float) -> int:
    """Return how many shards fit; a shard is never split over nodes.

    Args:
        nodes: free capacity of each node.
        cpus: CPUs per shard.
        gpus: GPUs per shard.
    """
    return sum(_fit_on_node(node, cpus, gpus) for node in nodes)


def shortage(
    nodes: Sequence[NodeCapacity], num_shards: int, cpus: float, gpus: float, *, further: bool
) -> str:
    """Return one sentence that says what was requested, what is free, and the way out.

    Args:
        nodes: free capacity of each node.
        num_shards: number of shards that were requested.
        cpus: CPUs per shard.
        gpus: GPUs per shard.
        further: whether they were requested for a group that runs.
    """
    what = "further shard" if further else "shard"
    requested = f"{_amount(num_shards, what)} with {_amount(cpus, 'CPU')}"
    requested += f" and {_amount(gpus, 'GPU')}" if gpus else ""
    requested += " was requested" if num_shards == 1 else " each were requested"
    available = ", ".join(
        f"{node.address} ({_amount(node.cpus, 'CPU')}, {_amount(node.gpus, 'GPU')})"
        for node in nodes
    )
    fits = shards_that_fit(nodes, cpus, gpus)
    options = "--shards" if gpus else "--shards or --cpus-per-shard"
    way_out = f"lower {options}, add nodes, or wait for them with --wait-for-nodes"
    return (
        f"{requested}, but {fits} fit in the free capacity: {available or 'no node'}; "
        f"{'end other work there, or add nodes' if further else way_out}."
    )


def node_capacities(
    nodes: Sequence[Mapping[str, object]], free: Mapping[str, Mapping[str, float]]
) -> list[NodeCapacity]:
    """Return the free capacity of every live node.

    Args:
        nodes: node table of `ray.nodes`.
        free: node id -> resource -> free amount.
    """
    return [
        NodeCapacity(
            address=str(node["NodeManagerAddress"]),
            cpus=free.get(str(node["NodeID"]), {}).get("CPU", 0.0),
            gpus=free.get(str(node["NodeID"]), {}).get("GPU", 0.0),
        )
        for node in nodes
        if node["Alive"]
    ]


def _fit_on_node(node: NodeCapacity, cpus: float, gpus: float) -> int:
    limits = [free / needed for free, needed in ((node.cpus, cpus), (node.gpus, gpus)) if needed]
    return int(min(limits, default=64) + 1e-6)


def _amount(count: float, what: str) -> str:
    return f"{count:g} {what}{'s' * (count != 1)}"
