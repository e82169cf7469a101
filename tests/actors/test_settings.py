"""Settings of groups, which need no cluster to be refused."""

import math

import pytest

from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.errors import ConfigError


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("num_shards", [0, 65]),
        ("cpus_per_shard", [-1.0, math.inf, math.nan]),
        ("wait_seconds", [-1.0, math.inf, math.nan]),
        ("lease_seconds", [0.0, math.inf, math.nan]),
        ("orphan_seconds", [0.0, math.inf, math.nan]),
        ("kept_sessions", [-1]),
        ("kept_bytes", [-1]),
        ("gpus_per_shard", [2]),
    ],
)
def test_numbers_that_make_no_sense_are_named(field: str, values: list[float]) -> None:
    shard = ShardSettings(model="none")
    for value in values:
        named = field.removeprefix("num_")
        with pytest.raises(ConfigError, match=f"{named} is {value}; it must be"):
            GroupSettings(**{"num_shards": 1, "shard": shard, field: value})


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan, 1e9])
def test_a_time_limit_that_makes_no_sense_is_named(seconds: float) -> None:
    with pytest.raises(ConfigError, match=f"timeout_seconds is {seconds}; it must be"):
        ShardSettings(timeout_seconds=seconds)


def test_a_shard_needs_a_thread() -> None:
    with pytest.raises(ConfigError, match="threads is 0; it must be at least 1"):
        ShardSettings(threads=0)
