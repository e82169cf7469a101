"""What `--trace` writes can be read at any moment and replays to the same tokens."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tokenizers import normalizers

from hogwild_dist.config import EngineConfig, SamplingConfig, Visibility
from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import TraceError
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.model.sampling import LARGEST_MARGIN
from hogwild_dist.run.run import Run
from hogwild_dist.run.trace.reader import Trace, read_trace
from hogwild_dist.run.trace.replay import check_fits, replay_fed, replay_free
from hogwild_dist.run.trace.writer import TraceWriter
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.events import Answer
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import LAYOUTS, Layout
from hogwild_dist.team.team import Limits, Team
from tests.paths import ROOT
from tests.replaying import engine_config
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import BREAKS, CRITIC, NEWLINE, PROMPTS
from tests.tiny_tokenizer import VOCAB_SIZE, byte_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


def new_team(layout: Layout, **fields: object) -> Team:
    defaults = {"prompts": PROMPTS, "sampling": BREAKS, "limits": Limits(max_tokens=50), "seed": 5}
    return Team(names=("Ann", "Ben", "Cat"), layout=layout, **{**defaults, **fields})


def new_engine(trace: Trace, model: LoadedModel) -> Engine:
    return Engine(model, byte_tokenizer(), engine_config(trace, 4_096))


def replays(engine: Engine, path: Path) -> None:
    trace = read_trace(path)
    check_fits(trace, engine.model.info, engine.tokenizer)
    again = new_engine(trace, engine.model)
    rows = list(replay_fed(trace, again))
    assert rows
    assert all(row.agrees(1e-5) and row.argmax == row.expected for row in rows)
    steps = list(replay_free(trace, new_engine(trace, engine.model)))
    assert steps == [[]] * len(trace.steps)


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), CRITIC], ids=lambda layout: layout.name)
@pytest.mark.parametrize("visibility", Visibility)
def test_a_run_replays(
    model: LoadedModel, tmp_path: Path, layout: Layout, visibility: Visibility
) -> None:
    engine = tiny_engine(model, visibility=visibility, max_step_tokens=24)
    path = tmp_path / "run.json"
    run = Run(engine, "Count!", new_team(layout), path)
    for _ in run:
        pass
    raw = json.loads(path.read_text())
    assert (raw["format"], raw["visibility"]) == (2, visibility.value)
    moves = [e for s in raw["steps"] for e in s.get("events", []) if e["type"] == "paragraph_end"]
    assert bool(moves) == (layout.name in ("interleaved", "combined", "critic"))
    assert len(moves) == 0 or any(move["s1"] for move in moves)
    assert {move["to_block"] for move in moves} <= {"common", "notes"}
    assert any(None in step["new"] for step in raw["steps"]), "a first text spans steps"
    assert raw["final"]["text"] == list(run.result.texts.values())
    replays(tiny_engine(model, max_step_tokens=24), path)


@pytest.mark.parametrize("vote", [False, True])
@pytest.mark.parametrize("visibility", Visibility)
def test_a_run_that_asks_for_answers_replays(
    model: LoadedModel, tmp_path: Path, visibility: Visibility, vote: bool
) -> None:
    engine = tiny_engine(model, visibility=visibility)
    path = tmp_path / "run.json"
    form = AnswerForm.parse("zzz")
    lively = SamplingConfig(temperature=0.9, logit_bias={70: 1.0})
    policy = AnswerPolicy(
        form=form, vote=vote, finisher_tokens=7, finisher_sampling=lively, budgets=(9, 30)
    )
    run = Run(engine, "Count!", new_team(LAYOUTS["combined"], answer_policy=policy), path)
    answers = [event for event in run if isinstance(event, Answer)]
    assert [event.budget for event in answers] == sorted(
        [9, 30, None] * (3 if vote else 1), key=lambda budget: budget or 99
    )
    assert run.result.answer is None
    replays(engine, path)


def test_every_prefix_of_a_run_is_a_trace(model: LoadedModel, tmp_path: Path) -> None:
    engine = tiny_engine(model)
    path = tmp_path / "run.json"
    seen = []
    for _ in Run(engine, "Count!", new_team(LAYOUTS["combined"]), path):
        seen.append(len(read_trace(path).steps))
    assert sorted(set(seen)) == list(range(max(seen) + 1))


def test_leaving_a_run_early_completes_the_trace(model: LoadedModel, tmp_path: Path) -> None:
    engine = tiny_engine(model)
    path = tmp_path / "run.json"
    with Run(engine, "Count!", new_team(LAYOUTS["combined"]), path) as run:
        for number, _ in enumerate(run):
            if number == 30:
                break
    assert run.result.end_reason == "cancelled"
    assert json.loads(path.read_text())["final"]["reason"] == "cancelled"
    assert engine.cache.pages.num_free == engine.cache.pages.num_pages
    replays(engine, path)


def test_a_run_is_iterated_once(model: LoadedModel) -> None:
    run = Run(tiny_engine(model), "x", new_team(LAYOUTS["combined"], limits=Limits(max_tokens=2)))
    assert list(run)
    with pytest.raises(RuntimeError, match="iterated only once"):
        list(run)


def test_a_killed_process_leaves_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    code = f"""
        from hogwild_dist.team.layout import LAYOUTS
        from hogwild_dist.run.run import Run
        from tests.run.test_trace import new_team
        from tests.tiny_engine import tiny_byte_model, tiny_engine
        for number, _ in enumerate(Run(
            tiny_engine(tiny_byte_model()), "Count!", new_team(LAYOUTS["combined"]), {str(path)!r}
        )):
            print(number, flush=True)
    """
    root = ROOT
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=root, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 40:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert len(read_trace(path).steps) >= 10


def test_a_full_disk_keeps_the_steps_so_far(model: LoadedModel, tmp_path: Path) -> None:
    """A real limit on the file's size stands for the full disk."""
    path = tmp_path / "run.json"
    code = f"""
        import resource, signal
        from hogwild_dist.errors import TraceError
        from hogwild_dist.team.layout import LAYOUTS
        from hogwild_dist.run.run import Run
        from tests.run.test_trace import new_team
        from tests.tiny_engine import tiny_byte_model, tiny_engine
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        engine = tiny_engine(tiny_byte_model())
        run = Run(engine, "Count!", new_team(LAYOUTS["combined"]), {str(path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            for _ in run:
                pass
        except TraceError as error:
            print(error)
    """
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, cwd=root, text=True,
        check=True,
    )  # fmt: skip
    steps = len(read_trace(path).steps)
    assert f"its {steps} steps so far are kept" in done.stdout
    assert steps > 3
    assert path.stat().st_size <= 20_000


def test_an_unwritable_trace_is_named(model: LoadedModel, tmp_path: Path) -> None:
    engine = tiny_engine(model)
    with pytest.raises(TraceError, match="cannot be written: No such file or directory"):
        Run(engine, "Count!", new_team(LAYOUTS["combined"]), tmp_path / "no" / "run.json")
    assert not engine.cache.blocks


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


def test_a_tokenizer_that_normalizes_replays(model: LoadedModel, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    engine = Engine(model, tokenizer, EngineConfig(cache_tokens=4_096))
    path = tmp_path / "run.json"
    for _ in Run(engine, "cafe\u0301", new_team(LAYOUTS["combined"]), path):
        pass
    trace = read_trace(path)
    text = trace.raw["prefill"]["common"]["text"]
    assert tokenizer.decode(trace.raw["prefill"]["common"]["ids"]) != text
    check_fits(trace, model.info, tokenizer)


def test_an_interrupt_behind_a_write_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step has reached the disk, and the writer does not know it yet."""
    path = tmp_path / "t.json"
    writer = TraceWriter(path, {"format": 2})
    written = os.pwrite

    def interrupt(*args: object) -> int:
        written(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        writer.step({"text": "x" * 500})
    monkeypatch.setattr(os, "pwrite", written)
    writer.end({"reason": "cancelled"})
    writer.close()
    assert json.loads(path.read_text()) == {"format": 2, "steps": [], "reason": "cancelled"}


def test_a_trace_must_be_a_file_on_a_disk(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (pipe, Path("/dev/full")):
        with pytest.raises(TraceError, match="is not a regular file"):
            TraceWriter(path, {"format": 2})
    os.close(reader)


def test_one_allowed_token_has_a_finite_margin(model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    only = SamplingConfig(forbidden_ids=tuple(i for i in range(VOCAB_SIZE) if i != NEWLINE))
    team = new_team(LAYOUTS["contiguous"], sampling=only, limits=Limits(max_tokens=2))
    for _ in Run(tiny_engine(model), "Count!", team, path):
        pass
    assert "Infinity" not in path.read_text()
    assert read_trace(path).steps[0]["margin"] == [LARGEST_MARGIN] * 3
