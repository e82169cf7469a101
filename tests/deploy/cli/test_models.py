import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hogwild_dist.deploy.cli.commands.models import app
from hogwild_dist.deploy.cli.progress import PlainLines, drawn_bar
from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub import Progress


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only model of a cache."""
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("x" * 1000)
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_list_shows_name_size_and_state(cached: Path):
    listed = run()
    assert all(word in listed for word in ("mine", "3.0 kB", "complete"))


def test_an_empty_cache_says_how_to_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path))
    assert "hogwild models fetch" in run()


def test_path_prints_the_folder(cached: Path):
    assert run("path", "mine") == f"{cached}\n"


def test_path_names_a_model_that_is_not_there(cached: Path):
    with pytest.raises(ModelError, match="No model 'yours' is cached"):
        run("path", "yours")


def test_fetch_prints_the_folder_alone(cached: Path):
    assert run("fetch", "mine") == f"{cached}\n"


def test_fetch_of_a_hub_id_says_who_downloads_it(cached: Path):
    assert "transformers downloads it" in run("fetch", "organisation/name")


def test_plain_lines_come_once_for_each_quarter():
    written = io.StringIO()
    lines = PlainLines(Console(file=written))
    for done in (0, 10, 25, 30, 99, 100):
        lines(Progress("downloading", done * 1000, 100_000))
    lines(Progress("converting"))
    assert written.getvalue().splitlines() == [
        "downloading 0% of 100.0 kB",
        "downloading 25% of 100.0 kB",
        "downloading 75% of 100.0 kB",
        "downloading 100% of 100.0 kB",
        "converting",
    ]


def test_the_bar_shows_the_running_stage():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True)
    with drawn_bar(console) as hook:
        hook(Progress("downloading", 500, 1000))
        hook(Progress("converting"))
    drawn = written.getvalue()
    assert "downloading 500 bytes of 1.0 kB" in drawn
    assert drawn.rindex("converting") > drawn.rindex("downloading")
