"""Logs are lines of JSON that name group, shard, epoch and session."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.cluster import ShardGroup
from actors.settings import GroupSettings
from hogwild_dist import LAYOUTS, Run
from tests.actors.test_cluster_runs import team


def entries(cluster: Cluster, group: str) -> Iterator[dict[str, Any]]:
    """What the actors of a group have logged, from Ray's files."""
    logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
    for path in logs.glob("worker-*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{") and json.loads(line).get("group") == group:
                yield json.loads(line)


def test_logs_name_shard_epoch_and_session(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    group = ShardGroup.start(settings(), name="logged")
    for _ in Run(group, "Count!", team(2, LAYOUTS["combined"])):
        pass
    group.checksums(1)  # waits until every shard has retired it
    group.stop()
    logged = list(entries(cluster, "logged"))
    ended = [entry for entry in logged if entry["message"] == "session ended: all_stopped"]
    assert {(entry["shard"], entry["epoch"], entry["session"]) for entry in ended} == {
        (0, 1, 1),
        (1, 1, 1),
    }
    address = ray.nodes()[0]["NodeManagerAddress"]
    assert {entry["node"] for entry in ended} == {address}
    (opened,) = [entry for entry in logged if entry["message"] == "session opened: Count!"]
    assert (opened["logger"], opened["session"]) == ("hogwild_dist.driver", 1)
