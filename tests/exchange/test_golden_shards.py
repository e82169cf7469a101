"""The reference implementation's recordings replay on several shards as they do in one process."""

from functools import cache
from pathlib import Path

import pytest

from hogwild_dist.engine.engine import Engine
from hogwild_dist.exchange.process_group import Membership, form_group
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.model.loader import LoadedModel, load_model, load_tokenizer
from hogwild_dist.run.trace.reader import Trace, read_trace
from hogwild_dist.run.trace.replay import RowComparison, replay_fed
from tests.paths import GOLDEN
from tests.rank_pool import HOST, RankPool
from tests.replaying import engine_config

CACHE_TOKENS = 4_096
pytestmark = pytest.mark.demo_model


@cache
def demo_model(folder: Path) -> LoadedModel:
    return load_model(folder, name="smollm2-135m", device="cpu")


def replay(place: Membership, folder: Path, path: Path) -> list[RowComparison]:
    """What one rank compares: the rows of its own workers."""
    trace, model = read_trace(path), demo_model(folder)
    config = engine_config(trace, CACHE_TOKENS)
    cache = model.new_cache(CACHE_TOKENS)
    channels = form_group(place, model.device, HOST)
    exchange = TorchDistExchange(channels, cache, config.visibility, place.epoch)
    engine = Engine(model, load_tokenizer(folder), config, exchange, cache=cache)
    return list(replay_fed(trace, engine))


def check(trace: Trace, rows: list[RowComparison]) -> None:
    """Every recorded row once, with its logits and its greedy token."""
    expected = [
        (index, worker) for index, step in enumerate(trace.steps) for worker in trace.active(step)
    ]
    assert sorted((row.step, row.worker) for row in rows) == expected
    assert max(row.difference for row in rows) < 1e-3
    assert all(row.argmax == row.expected or row.margin < 2e-3 for row in rows)


CASES = [(path, shards) for path in GOLDEN for shards in (2, 3)]
SELECTED = [CASES[9], CASES[14]]  # combined and interleaved; float64 tests carry the rest


@pytest.mark.parametrize(
    ("path", "shards"), SELECTED, ids=lambda value: getattr(value, "stem", value)
)
def test_recordings_replay_on_shards(
    path: Path, shards: int, ranks: RankPool, demo_model_dir: Path
) -> None:
    parts = ranks.run(replay, shards, demo_model_dir, path)
    check(read_trace(path), [row for part in parts for row in part])


@pytest.mark.full_grid
@pytest.mark.parametrize(("path", "shards"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_every_recording_replays_on_shards(
    path: Path, shards: int, ranks: RankPool, demo_model_dir: Path
) -> None:
    parts = ranks.run(replay, shards, demo_model_dir, path)
    check(read_trace(path), [row for part in parts for row in part])
