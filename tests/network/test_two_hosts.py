"""Two addresses, two Ray nodes, one team."""

from pathlib import Path

import pytest

from hogwild_dist import Engine, EngineConfig, Limits, Run, Team, Visibility
from hogwild_dist.model.loader import load_model, load_tokenizer
from tests.network import two_hosts
from tests.network.two_hosts import ADDRESSES, PROBLEM, TwoHosts

WHY = two_hosts.obstacle()


@pytest.mark.slow
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
def test_a_team_on_two_hosts_writes_what_one_process_writes(tiny_dir: Path) -> None:
    with TwoHosts() as hosts:
        hosts.limit("50mbit")
        played = hosts.play("next-step", 12, "--model", str(tiny_dir), "--dtype", "float64")
    assert played.nodes == ADDRESSES
    config = EngineConfig(visibility=Visibility.NEXT_STEP)
    model = load_model(tiny_dir, dtype="float64", device="cpu")
    engine = Engine(model, load_tokenizer(tiny_dir), config)
    run = Run(engine, PROBLEM, Team(names=("Alice", "Bob"), limits=Limits(max_tokens=12)))
    for _ in run:
        pass
    assert played.texts == run.result.texts
