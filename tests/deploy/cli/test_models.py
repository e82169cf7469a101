from pathlib import Path

import pytest
from typer.testing import CliRunner

from hogwild_dist.deploy.cli.commands.models import app
from hogwild_dist.errors import ModelError


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
