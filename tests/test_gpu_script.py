"""The script for a GPU, tried on a CPU with tiny shapes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.equality import graphs
from benchmarks.gpu.exchange import guarded
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.shapes import SHAPES, random_model
from benchmarks.gpu.teams import MOST_OWN_TOKENS, OWN_TOKENS, team_step
from hogwild_dist.model.graphs import capturer
from hogwild_dist.model.graphs.planner import StepPlanner
from hogwild_dist.model.loaded_model import prepare_model
from tests.paths import ROOT


def run_script(out: Path, *options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--device", "cpu", "--out", out]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_parts_are_measured_once_and_reported(tmp_path: Path) -> None:
    printed = run_script(tmp_path, "--only", "environment", "steps", "teams", "exchange")
    assert "steps: " in printed
    for name in ("environment", "steps", "teams", "exchange"):
        rows = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert rows[-1]["ended"] is True
    exchanged = [json.loads(line) for line in (tmp_path / "exchange.jsonl").open()][:-1]
    assert len(exchanged) == 6 + 6
    assert all(row["ok"] for row in exchanged), "K and V arrive whole"
    again = run_script(tmp_path, "--only", "environment", "steps")
    assert again == f"see {tmp_path}/report.md\n"
    report = (tmp_path / "report.md").read_text()
    assert "| tiny | 256 | 2 |" in report
    assert "## forward\n\nNot run.\n" in report
    assert "## profile\n\nNot run.\n\n## teams\n\n| shape |" in report


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_the_dry_run_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", out],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (
        "needs a CUDA GPU, and torch finds none; for a dry run on a CPU add --tiny" in done.stderr
    )
    assert not out.exists()


def test_a_part_that_fails_is_reported_and_the_next_follows(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from benchmarks.gpu import __main__ as script\n"
        "def broken(settings):\n"
        "    yield {'found': 1}\n"
        "    raise RuntimeError('too little memory')\n"
        "script.PARTS['kernels'] = broken\n"
        f"sys.argv = ['gpu', '--tiny', '--device', 'cpu', '--out', {str(tmp_path)!r},\n"
        "            '--only', 'kernels', 'environment']\n"
        "script.main()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    report = (tmp_path / "report.md").read_text()
    assert "| found |\n|---|\n| 1 |\n\nFailed: RuntimeError: too little memory" in report
    assert "copy_GB_per_s" in report


def test_an_exchange_that_fails_is_a_row_and_the_next_is_measured() -> None:
    def broken() -> Iterator[dict[str, object]]:
        yield {"ok": True}
        raise RuntimeError("no such library")

    assert list(guarded("nccl", broken)) == [
        {"ok": True},
        {"error": "nccl: RuntimeError: no such library"},
    ]


TINY = Settings(device=torch.device("cpu"), tiny=True)


def test_graphs_are_compared_with_steps_without_them() -> None:
    rows = list(graphs(TINY))
    assert [(row["workers"], row["replayed"], row["ok"]) for row in rows] == [
        (1, 12, True), (3, 12, True), (8, 12, True),
    ]  # fmt: skip


def test_graphs_that_cannot_be_captured_are_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(forward: Any, peers: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(capturer, "PlainPass", refuse)
    assert not any(row["ok"] for row in graphs(TINY))


def test_measured_steps_are_planned_ahead_as_in_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []
    plan = StepPlanner.plan

    def noted(planner: StepPlanner, *args: Any) -> Any:
        expected = planner._expected
        found = plan(planner, *args)
        planned.append(expected is not None and found.tables is expected[1].tables)
        return found

    monkeypatch.setattr(StepPlanner, "plan", noted)
    model = prepare_model(random_model(SHAPES["tiny"], torch.float32, TINY.device), name="tiny")
    step = team_step(model, workers=2, context=100, attention="tables")
    count = MOST_OWN_TOKENS - OWN_TOKENS + 3
    for _ in range(count):
        step()
    assert planned == [False, *[True] * (count - 4), False, True, True]
