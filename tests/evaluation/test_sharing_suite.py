"""The figures of benchmarks/sharing.json: a part is measured again, all must make sense."""

import json
from pathlib import Path
from statistics import fmean

import pytest

from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.engine.engine import Engine
from hogwild_dist.evaluation.sharing import TASKS, score
from hogwild_dist.model.loader import LoadedModel, load_model, load_tokenizer
from tests.paths import ROOT

FIGURES = json.loads((ROOT / "benchmarks" / "sharing.json").read_text())
ALONE = ("independent", "same-step")


def figures(layout: str, visibility: str, task: str) -> list[dict]:
    wanted = (layout, visibility, task)
    return [f for f in FIGURES if (f["layout"], f["visibility"], f["task"]) == wanted]


def gain(layout: str, visibility: str, task: str) -> float:
    """In nats a token."""
    own, alone = figures(layout, visibility, task), figures(*ALONE, task)
    return fmean(f["log_probability"] for f in own) - fmean(f["log_probability"] for f in alone)


@pytest.fixture(scope="module")
def model(demo_model_dir: Path) -> LoadedModel:
    return load_model(demo_model_dir, name="smollm2-135m", device="cpu", dtype="float32")


@pytest.mark.demo_model
@pytest.mark.parametrize(
    ("layout", "visibility", "task"),
    [
        ("independent", "same-step", "told"),
        ("contiguous", "same-step", "relay"),
        ("combined", "overlapped", "follow"),
        ("interleaved", "next-step", "split"),
    ],
)
def test_the_committed_figures_are_those_of_the_engine(
    model: LoadedModel, demo_model_dir: Path, layout: str, visibility: str, task: str
) -> None:
    config = EngineConfig(visibility=Visibility(visibility), cache_tokens=2_048)
    engine = Engine(model, load_tokenizer(demo_model_dir), config)
    known = figures(layout, visibility, task)[0]
    found = score(engine, TASKS[task](known["seed"]), layout)
    assert found.log_probability == pytest.approx(known["log_probability"], abs=0.01)
    assert found.matched == pytest.approx(known["matched"], abs=1e-4)
    assert engine.cache.pages.num_free == engine.cache.pages.num_pages


@pytest.mark.parametrize("visibility", [one.value for one in Visibility])
@pytest.mark.parametrize("layout", ["contiguous", "interleaved", "combined"])
@pytest.mark.parametrize("task", ["told", "split"])
def test_what_alice_has_finished_helps_in_every_layout(
    layout: str, visibility: str, task: str
) -> None:
    assert gain(layout, visibility, task) > 2


@pytest.mark.parametrize("layout", ["contiguous", "combined"])
def test_words_that_are_still_warm_need_the_visibility(layout: str) -> None:
    for visibility in Visibility:
        assert gain(layout, visibility.value, "follow") > 4
    assert gain(layout, "same-step", "relay") > 4
    assert gain(layout, "next-step", "relay") < 1


@pytest.mark.parametrize("task", ["follow", "relay"])
def test_an_unfinished_paragraph_is_unseen_in_interleaved(task: str) -> None:
    for visibility in Visibility:
        assert gain("interleaved", visibility.value, task) == pytest.approx(0, abs=0.01)


def test_a_seed_gives_a_case_of_its_own() -> None:
    for make in TASKS.values():
        assert make(3) == make(3)
        assert len({make(seed).answer for seed in range(20)}) == 20
