"""Which nodes of the cluster are up, and which of them are about to leave."""

import ray
from ray._private import state


def draining_nodes() -> set[str]:
    """Return the ids of the nodes that are being drained: by hand, idle, or reclaimed (spot)."""
    return set(state.state.get_draining_nodes())


def staying_nodes() -> set[str]:
    """Return the ids of the nodes that are up and not being drained."""
    up = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return up - draining_nodes()
