"""The reference implementation's recordings on the demo model in float32."""

from pathlib import Path

import pytest

from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.loader import LoadedModel, load_model, load_tokenizer
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import check_fits, engine_config, replay_fed, replay_free
from tests.paths import GOLDEN

FIRSTS = [path for at, path in enumerate(GOLDEN) if path.name[0] != GOLDEN[at - 1].name[0]]
"""One recording of each kind."""

pytestmark = pytest.mark.demo_model


@pytest.fixture(scope="module")
def model(demo_model_dir: Path) -> LoadedModel:
    return load_model(demo_model_dir, name="smollm2-135m", device="cpu")


def test_all_recordings_are_here() -> None:
    assert len(GOLDEN) == 12


@pytest.mark.parametrize(
    "path",
    [pytest.param(one, marks=() if one in FIRSTS else pytest.mark.full_grid) for one in GOLDEN],
    ids=lambda path: path.stem,
)
def test_fed_tokens_give_the_recorded_logits(
    path: Path, model: LoadedModel, demo_model_dir: Path
) -> None:
    trace = read_trace(path)
    tokenizer = load_tokenizer(demo_model_dir)
    rows = list(replay_fed(trace, Engine(model, tokenizer, engine_config(trace, 4_096))))
    assert len(rows) == sum(len(step["new"]) for step in trace.steps)
    assert max(row.difference for row in rows) < 1e-3
    assert [row.argmax for row in rows] == [token for step in trace.steps for token in step["new"]]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_free_choice_gives_the_recorded_tokens_and_events(
    path: Path, model: LoadedModel, demo_model_dir: Path
) -> None:
    trace = read_trace(path)
    tokenizer = load_tokenizer(demo_model_dir)
    check_fits(trace, model.info, tokenizer)
    steps = list(replay_free(trace, Engine(model, tokenizer, engine_config(trace, 4_096))))
    assert steps == [[]] * len(trace.steps)
