"""Logs are lines of JSON that name group, shard, epoch and session."""

import json
from collections.abc import Callable

import ray
from ray.cluster_utils import Cluster

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings
from tests.actors.client.test_shard_group import team
from tests.actors.observing import log_lines


def test_logs_name_shard_epoch_and_session(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    group = ShardGroup.start(settings(), name="logged")
    for _ in Run(group, "Count!", team(2, LAYOUTS["combined"])):
        pass
    group.checksums(1)  # waits until every shard has retired it
    group.stop()
    logged = list(log_lines(cluster, {"group": "logged"}))
    ended = [entry for entry in logged if entry["message"] == "session ended: all_stopped"]
    assert {(entry["shard"], entry["epoch"], entry["session"]) for entry in ended} == {
        (0, 1, 1),
        (1, 1, 1),
    }
    address = ray.nodes()[0]["NodeManagerAddress"]
    assert {entry["node"] for entry in ended} == {address}
    by_driver = {"group": "logged", "logger": "hogwild_dist.driver", "message": "session opened"}
    (opened,) = log_lines(cluster, by_driver)
    assert opened["session"] == 1
    assert "Count!" not in json.dumps(logged)


def test_logs_hold_problems_only_where_that_is_wished(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    group = ShardGroup.start(settings(1, log_texts=True), name="told")
    for _ in Run(group, "Count!", team(2, LAYOUTS["combined"])):
        pass
    group.stop()
    (opened,) = log_lines(cluster, {"group": "told", "problem": "Count!"})
    assert opened["message"] == "session opened"
