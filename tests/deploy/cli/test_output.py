"""Standard outputs that cannot take everything: other encodings, full devices, closed pipes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow


def hogwild(*arguments: object, stdout: int = subprocess.PIPE, **changes: object):
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "hogwild_dist.deploy.cli.app", *map(str, arguments)],
        stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, check=False, **changes,
    )  # fmt: skip


ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


def test_an_encoding_that_lacks_characters_escapes_them(tiny_dir: Path, tmp_path: Path) -> None:
    run = ("run", "Say café", "--model", tiny_dir, "--max-tokens", 30, "--temperature", 2)
    plain = hogwild(*run, env=ASCII)
    assert (plain.returncode, "Traceback" in plain.stderr) == (0, False)
    lines = hogwild(*run, "--json", env=ASCII)
    whole = hogwild(*run, "--json", env={"PYTHONIOENCODING": "utf-8"})
    assert lines.stdout.isascii()
    events = [json.loads(line) for line in lines.stdout.splitlines()]
    assert events == [json.loads(line) for line in whole.stdout.splitlines()]
    shown = hogwild("prompts", "show", "café", "--model", tiny_dir, env=ASCII)
    assert shown.returncode == 0
    assert r"caf\xe9" in shown.stdout


def test_a_full_device_is_named_and_the_text_and_trace_are_kept(
    tiny_dir: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "run.json"
    with open("/dev/full", "w") as full:
        done = hogwild(
            "run", "Hi", "--model", tiny_dir, "--max-tokens", 4, "--trace", trace, stdout=full
        )
        listed = hogwild("teams", stdout=full)
    sentence = "hogwild: Standard output cannot be written (No space left on device); send it"
    for one in (done, listed):
        assert one.returncode == 2
        assert sentence in one.stderr
        assert "Traceback" not in one.stderr
        assert "Exception ignored" not in one.stderr
    assert "--- Alice ---" in done.stderr
    assert json.loads(trace.read_text())["format"]


def test_a_reader_that_has_gone_ends_the_command_quietly(tiny_dir: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = hogwild("run", "Hi", "--model", tiny_dir, "--max-tokens", 4, stdout=write_end)
    os.close(write_end)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [("teams",), ("prompts", "show"), ("models",)])
def test_a_reader_that_has_gone_ends_a_table_as_a_shell_expects(words: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = hogwild(*words, stdout=write_end)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_output_is_no_fault() -> None:
    command = f"exec {sys.executable} -m hogwild_dist.deploy.cli.app --version >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_deleted_working_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    command = (
        f"cd {folder} && rmdir {folder} && exec {sys.executable} -m hogwild_dist.deploy.cli.app"
    )
    done = subprocess.run(
        ["sh", "-c", f"{command} teams"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "The working folder no longer exists; change to one that does." in done.stderr


def test_what_ray_prints_of_a_killed_shard_is_no_line_of_json(tiny_dir: Path) -> None:
    command = [
        sys.executable, "-m", "hogwild_dist.deploy.cli.app", "run", "Count for ever!", "--json",
        "--model", str(tiny_dir), "--max-tokens", "600", "--shards", "1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(5)]
        shards = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if child.name().startswith("ray::Shard")
        ]
        assert shards
        for shard in shards:
            shard.kill()
        lines += process.stdout.readlines()
        errors = process.stderr.read()
    assert [json.loads(line)["type"] for line in lines][-1] == "session_end"
    assert "A worker died or was killed" in errors
    assert process.returncode == 0  # another shard has gone on
