"""What one run shows of itself: where its shards lie, its metrics, and its logs.

Every metric that is documented of groups is exported, and none besides. Logs are lines of JSON that
name group, shard, epoch and session.
"""

import json
from collections.abc import Callable, Iterator

import pytest
import ray
from prometheus_client.samples import Sample
from ray.cluster_utils import Cluster

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings
from tests.actors.client.test_shard_group import team
from tests.actors.leftovers import comes_true
from tests.actors.observing import documented, files_with, log_lines, scrape_until, tags_of, total
from tests.actors.test_scale import nodes_in_use

DOCUMENTED = documented("Driver", "Shards")


@pytest.fixture(scope="module")
def watched(settings: Callable[..., GroupSettings]) -> Iterator[Run]:
    """A run that has ended, on a pack of two shards that are still there."""
    group = ShardGroup.start(settings(), name="watched")
    assert nodes_in_use() == [2], "a pack keeps to one node"
    run = Run(group, "Count!", team(3, LAYOUTS["combined"]))
    for _ in run:
        pass
    group.checksums(1)  # waits until every shard has retired it
    yield run
    group.stop()


def test_every_documented_metric_is_exported(watched: Run) -> None:
    chosen = sum(watched.result.num_tokens.values())

    def complete(samples: list[Sample]) -> bool:
        counted = total(samples, "ray_hogwild_tokens_total")
        return tags_of(samples) == DOCUMENTED and counted == chosen

    samples = scrape_until(complete, group="watched")
    assert tags_of(samples) == DOCUMENTED
    assert total(samples, "ray_hogwild_tokens_total") == chosen
    assert total(samples, "ray_hogwild_live_shards") == 2
    exposed = total(samples, "ray_hogwild_exposed_wait_seconds_total")
    assert 0 < exposed <= total(samples, "ray_hogwild_exchange_seconds_total")


def test_loading_draws_no_bars_into_logs(watched: Run, cluster: Cluster) -> None:
    assert [path.name for path in files_with(cluster, "Loading weights")] == []


def test_logs_name_shard_epoch_and_session(watched: Run, cluster: Cluster) -> None:
    of_shards = {"group": "watched", "message": "session ended: all_stopped"}
    assert comes_true(lambda: len(list(log_lines(cluster, of_shards))) >= 2)
    ended = list(log_lines(cluster, of_shards))
    assert {(entry["shard"], entry["epoch"], entry["session"]) for entry in ended} == {
        (0, 1, 1),
        (1, 1, 1),
    }
    address = ray.nodes()[0]["NodeManagerAddress"]
    assert {entry["node"] for entry in ended} == {address}
    by_driver = {"group": "watched", "logger": "hogwild_dist.driver", "message": "session opened"}
    (opened,) = log_lines(cluster, by_driver)
    assert opened["session"] == 1
    assert "Count!" not in json.dumps(list(log_lines(cluster, {"group": "watched"})))


def test_logs_hold_problems_only_where_that_is_wished(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    group = ShardGroup.start(settings(1, log_texts=True), name="told")
    for _ in Run(group, "Count!", team(2, LAYOUTS["combined"])):
        pass
    group.stop()
    (opened,) = log_lines(cluster, {"group": "told", "problem": "Count!"})
    assert opened["message"] == "session opened"
