"""Groups of shards on the tests' cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from actors.cluster import ShardGroup
from actors.settings import NAMESPACE, GroupSettings, ShardSettings
from hogwild_dist.config import EngineConfig, Visibility

STORE_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One real Ray cluster for all tests that need one: nodes of 3, 3 and 2 CPUs.

    Ray's tokens and logs stay out of the user's home.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("HOGWILD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    node = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **node})
    cluster.add_node(num_cpus=3, object_store_memory=STORE_BYTES)
    cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="session")
def settings(cluster: Cluster, tiny_dir: Path) -> Callable[..., GroupSettings]:
    """Settings of a small group on the tiny model in float64."""

    def make(
        num_shards: int = 2, visibility: Visibility = Visibility.SAME_STEP, **fields: Any
    ) -> GroupSettings:
        shard = ShardSettings(
            model=str(fields.pop("model", tiny_dir)),
            dtype="float64",
            engine=EngineConfig(
                visibility=visibility, cache_tokens=fields.pop("cache_tokens", 8_192)
            ),
            threads=1,
            timeout_seconds=fields.pop("timeout_seconds", 30.0),
            audit=True,
        )
        return GroupSettings(num_shards=num_shards, shard=shard, **fields)

    return make


@pytest.fixture(scope="module")
def group(settings: Callable[..., GroupSettings]) -> Iterator[ShardGroup]:
    """Two shards for the tests of a module."""
    with ShardGroup.start(settings()) as group:
        yield group
