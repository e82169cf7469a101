"""Traces that are malformed, of another model, or changed by hand."""

import json
import re
from pathlib import Path

import pytest

from hogwild_dist.errors import TraceError
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.run.run import Run
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import check_fits, replay_fed, replay_free
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits
from tests.run.trace_runs import new_engine, new_team
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_tokenizer import byte_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


@pytest.fixture
def recorded(model: LoadedModel, tmp_path: Path) -> tuple[Path, dict]:
    path = tmp_path / "run.json"
    limits = Limits(max_tokens=12)
    for _ in Run(tiny_engine(model), "Count!", new_team(LAYOUTS["combined"], limits=limits), path):
        pass
    return path, json.loads(path.read_text())


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda raw: raw.update(format=3), "has format 3; formats 1 and 2"),
        (lambda raw: raw.pop("layout"), "malformed: layout: it is missing"),
        (
            lambda raw: raw["steps"][1].pop("input_ids"),
            "malformed: steps.1.input_ids: it is missing",
        ),
        (lambda raw: raw["steps"][1]["margin"].pop(), "step 1 has 2 margin for 3 rows"),
        (lambda raw: raw["steps"][1].update(active=[0, 1, 7]), "not in the team"),
        (lambda raw: raw["steps"][1].update(active=[0, 1, 1]), "names a worker twice"),
        (lambda raw: raw["params"].update(max_tokens=[0, 0, 0]), "must be at least 1"),
        (lambda raw: raw["steps"][1]["input_ids"].__setitem__(0, []), "a row without tokens"),
        (lambda raw: raw["write_to"].__setitem__(0, "w1"), "is not the end of its view"),
        (
            lambda raw: raw.update(visibility="later"),
            "visibility: it must be 'same-step', 'next-step' or 'overlapped'",
        ),
        (lambda raw: raw.update(workers=["Ann", "Ann", "Cat"]), "workers with different names"),
        (
            lambda raw: raw["steps"][0].update(events=[{"type": "x", "from_block": "zz"}]),
            "step 0 moves 'zz' to None, not a worker's block",
        ),
        (
            lambda raw: raw["steps"][0].update(events=[{"type": "x", "worker": 3}]),
            "step 0 has an event of worker 3",
        ),
        (
            lambda raw: raw["steps"][0].update(events=[{"type": "paragraph_end"}]),
            "a move needs worker, from_block, moved, step_tokens and text",
        ),
        (lambda raw: raw["steps"][2]["top_ids"][0].pop(), "top_ids and top_logits differ"),
        (lambda raw: raw["steps"][2]["greedy"].pop(), "greedy and new differ"),
        (
            lambda raw: raw["steps"][2].update(new=[None] * 3, greedy=None),
            "a null, which needs greedy",
        ),
        (
            lambda raw: raw["params"].update(first_index="x"),
            "params.first_index: it must be a whole number or a list",
        ),
        (
            lambda raw: raw["steps"][0]["margin"].__setitem__(0, None),
            "steps.0.margin.0: it must be a number",
        ),
        (lambda raw: raw["params"].update(s1_message=None), "s1_every needs an s1_message"),
        (
            lambda raw: raw["steps"][2]["input_ids"][0].__setitem__(0, -1),
            "steps.2.input_ids.0.0: it must be 0 or more",
        ),
    ],
)
def test_malformed_traces_are_named(recorded, spoil, sentence: str) -> None:
    path, raw = recorded
    spoil(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(TraceError, match=sentence):
        read_trace(path)


def test_what_is_no_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.json")
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(TraceError, match="is not JSON"):
        read_trace(path)
    path.write_text("[]")
    with pytest.raises(TraceError, match="has format 'list'"):
        read_trace(path)


def test_a_trace_of_another_model_is_refused(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    raw["prefill"]["common"]["text"] += "?"
    path.write_text(json.dumps(raw))
    with pytest.raises(TraceError, match=r"'common' in .* do not spell its text"):
        check_fits(read_trace(path), model.info, byte_tokenizer())
    raw["steps"][2]["input_ids"][0] = [9_999]
    path.write_text(json.dumps(raw))
    with pytest.raises(TraceError, match="token id 9999, but 'tiny' has 258"):
        check_fits(read_trace(path), model.info, byte_tokenizer())


def test_tokens_of_changes_are_looked_at_too(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    said = {"kind": "interject", "name": "You", "text": "?", "target": "common"}
    for place in ("before", "during"):
        raw["steps"][3][place] = [said | {"token_ids": [-3]}]
        path.write_text(json.dumps(raw))
        with pytest.raises(TraceError, match="token id -3, but 'tiny' has 258"):
            check_fits(read_trace(path), model.info, byte_tokenizer())
        del raw["steps"][3][place]
    raw["steps"][3]["new"][0] = 9_999
    path.write_text(json.dumps(raw))
    with pytest.raises(TraceError, match="token id 9999, but 'tiny' has 258"):
        check_fits(read_trace(path), model.info, byte_tokenizer())


def test_a_team_that_ends_before_its_recording_is_named(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    raw["params"]["max_total_tokens"] = 9
    path.write_text(json.dumps(raw))
    trace = read_trace(path)
    sentence = rf"ends after step 3 \(max_total_tokens\), but {len(trace.steps)} steps are recorded"
    with pytest.raises(TraceError, match=sentence):
        list(replay_fed(trace, new_engine(trace, model)))
    *same, (last,) = replay_free(trace, new_engine(trace, model))
    assert same == [[], [], []]
    assert re.search(sentence, last)


def test_wrong_lengths_and_moves_are_named(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    raw["steps"][3]["block_len"]["w1"] += 1
    path.write_text(json.dumps(raw))
    trace = read_trace(path)
    with pytest.raises(TraceError, match=r"After the forward of step 3 .* block 'w1' has"):
        list(replay_fed(trace, new_engine(trace, model)))
    raw["steps"][3].pop("block_len")
    raw["steps"][3]["events"] = [
        {
            "type": "paragraph_end",
            "worker": 0,
            "from_block": "w0",
            "to_block": "common",
            "moved": 1,
            "step_tokens": [5],
            "text": "x",
        }
    ]
    path.write_text(json.dumps(raw))
    trace = read_trace(path)
    with pytest.raises(TraceError, match=r"Step 3 .* moves \[\], but has \[\(0, 'w0', 1"):
        list(replay_fed(trace, new_engine(trace, model)))


def test_a_changed_token_shows_in_both_replays(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    raw["steps"][4]["top_logits"][1][0] += 0.5
    raw["steps"][4]["greedy"][1] += 1
    raw["steps"][4]["new"][2] += 1
    path.write_text(json.dumps(raw))
    trace = read_trace(path)
    bad = [row for row in replay_fed(trace, new_engine(trace, model)) if not row.agrees(1e-3)]
    assert [(row.step, row.worker) for row in bad] == [(4, 1)]
    assert bad[0].difference == pytest.approx(0.5, abs=1e-3)
    free = list(replay_free(trace, new_engine(trace, model)))
    assert [index for index, differences in enumerate(free) if differences] == [4]
    assert free[4][0].startswith("tokens: ")


def test_a_step_without_greedy_is_compared_with_its_choice(model: LoadedModel, recorded) -> None:
    path, raw = recorded
    for step in raw["steps"]:
        step["greedy"] = None
    path.write_text(json.dumps(raw))
    trace = read_trace(path)
    rows = list(replay_fed(trace, new_engine(trace, model)))
    assert [row.expected for row in rows] == [
        token for step in trace.steps for token in step["new"]
    ]


@pytest.mark.parametrize("content", [b"[" * 200_000, b"1" * 5_000, b'"\xff"'], ids=len)
def test_absurd_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="is not JSON"):
        read_trace(path)
