"""What `--trace` writes can be read at any moment and replays to the same tokens."""

import json
import os
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
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import check_fits
from hogwild_dist.run.trace.writer import TraceWriter
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.events import Answer, Joined, Text
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import LAYOUTS, Layout
from hogwild_dist.team.team import Limits
from hogwild_dist.team.worker_profile import WorkerProfile
from tests.paths import ROOT
from tests.run.trace_runs import new_team, replays
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import CRITIC, NEWLINE
from tests.tiny_tokenizer import VOCAB_SIZE, byte_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


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


def test_workers_that_join_have_names_in_the_trace(model: LoadedModel, tmp_path: Path) -> None:
    """The finisher's index comes before theirs, though it writes last."""
    path = tmp_path / "run.json"
    engine = tiny_engine(model)
    policy = AnswerPolicy(form=AnswerForm.parse("zzz"), finisher_tokens=5)
    run = Run(engine, "Count!", new_team(LAYOUTS["combined"], answer_policy=policy), path)
    events = iter(run)
    shown = [next(events) for _ in range(9)]
    run.join("Dan")
    run.join("Eva", WorkerProfile(role="checks"))
    shown += events
    joined = {event.name: (event.worker, event.role) for event in shown if type(event) is Joined}
    assert joined == {"Dan": (4, ""), "Eva": (5, "checks")}
    names = read_trace(path).worker_names()
    assert names == ["Ann", "Ben", "Cat", names[3], "Dan", "Eva"]
    assert json.loads(path.read_text())["final"]["names"] == names
    written = {event.worker: event.name for event in shown if isinstance(event, Text)}
    assert [written[index] for index in range(len(names))] == names


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
        from tests.run.trace_runs import new_team
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
        from tests.run.trace_runs import new_team
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
