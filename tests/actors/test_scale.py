"""Many workers on many shards on several nodes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ray.util.placement_group import placement_group_table

from hogwild_dist import LAYOUTS, Engine, Limits, Run, Team
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, Spread
from hogwild_dist.config import Visibility
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.team.team import default_names
from tests.actors import leftovers
from tests.tiny_team import BREAKS, PROMPTS


def nodes_in_use() -> list[int]:
    """How many shards lie on each node, the most first."""
    bundles = [
        node
        for group in placement_group_table().values()
        if group["state"] == "CREATED"
        for node in group["bundles_to_node_id"].values()
    ]
    return sorted(map(bundles.count, set(bundles)), reverse=True)


@pytest.mark.parametrize("num_shards", [4, pytest.param(8, marks=pytest.mark.full_grid)])
def test_sixteen_workers_on_many_shards_on_three_nodes(
    num_shards: int, settings: Callable[..., GroupSettings], tiny_dir: Path
) -> None:
    before = leftovers.now()
    chosen = settings(num_shards, Visibility.NEXT_STEP, spread=Spread.SPREAD, cpus_per_shard=0.5)
    team = Team(
        names=default_names(16),
        layout=LAYOUTS["combined"],
        prompts=PROMPTS,
        sampling=BREAKS,
        limits=Limits(max_tokens=12),
        seed=2,
    )
    with ShardGroup.start(chosen) as group:
        assert len(nodes_in_use()) == 3
        events = list(Run(group, "Count!", team))
        copies = group.checksums(1)
        assert copies == [copies[0]] * num_shards
    model = load_model(tiny_dir, dtype="float64", device="cpu")
    engine = Engine(model, load_tokenizer(tiny_dir), chosen.shard.engine)
    assert events == list(Run(engine, "Count!", team))
    assert leftovers.settles(before)
