"""Groups of shards on the tests' cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.config import EngineConfig, Visibility


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
