"""The script for a GPU, tried on a CPU with tiny shapes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.gpu.exchange import guarded
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
