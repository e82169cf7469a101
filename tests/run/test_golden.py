"""The reference implementation's recordings on the demo model in float32."""

from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.loader import LoadedModel, load_model, load_tokenizer
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import RowComparison, check_fits, replay_free
from tests.paths import GOLDEN
from tests.replaying import engine_config

pytestmark = pytest.mark.demo_model

BUFFERED_IN_CI = {"c_combined_2w", "d_interleaved_2w", "e_ragged_3w"}
"""Steps on fixed buffers run slowly on a CPU, so that CI replays a few recordings."""

IN_CI = BUFFERED_IN_CI | {
    "a2_contiguous_2w_forbidden", "b_contiguous_4w", "f_early_stop_3w", "f2_early_stop_combined_3w",
}  # fmt: skip
"""Every layout, forbidden tokens, ragged prompts, two to four workers, and early stops."""


def selected(names: set[str]) -> list[object]:
    """All recordings; those that CI leaves out are of the full grid."""
    return [
        path if path.stem in names else pytest.param(path, marks=pytest.mark.full_grid)
        for path in GOLDEN
    ]


@pytest.fixture(scope="module")
def model(demo_model_dir: Path) -> LoadedModel:
    return load_model(demo_model_dir, name="smollm2-135m", device="cpu")


def test_all_recordings_are_here() -> None:
    assert len(GOLDEN) == 12
    assert {path.stem for path in GOLDEN} > IN_CI > BUFFERED_IN_CI


@pytest.mark.parametrize("path", selected(IN_CI), ids=lambda path: path.stem)
def test_free_choice_gives_the_recorded_tokens_events_and_logits(
    path: Path, model: LoadedModel, demo_model_dir: Path
) -> None:
    check(path, None, model, demo_model_dir)


@pytest.mark.parametrize("path", selected(BUFFERED_IN_CI), ids=lambda path: path.stem)
def test_fixed_buffers_give_them_too(path: Path, model: LoadedModel, demo_model_dir: Path) -> None:
    check(path, "tables", model, demo_model_dir)


def check(path: Path, attention: str | None, model: LoadedModel, demo_model_dir: Path) -> None:
    trace = read_trace(path)
    tokenizer = load_tokenizer(demo_model_dir)
    check_fits(trace, model.info, tokenizer)
    rows: list[RowComparison] = []
    engine = Engine(model, tokenizer, replace(engine_config(trace, 4_096), attention=attention))
    assert list(replay_free(trace, engine, rows.append)) == [[]] * len(trace.steps)
    assert max(row.difference for row in rows) < 1e-3
    assert [row.argmax for row in rows] == [token for step in trace.steps for token in step["new"]]
