from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from hogwild_dist.errors import DownloadError
from hogwild_dist.model.hub import list_models
from hogwild_dist.model.hub.store import models_dir, store_model


def build(scratch: Path) -> Path:
    finished = scratch / "finished"
    finished.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (finished / name).write_text("1234")
    return finished


def test_a_stored_model_is_listed(cache: Path):
    folder = store_model("one", build, needed=12)
    (model,) = list_models()
    assert (model.name, model.path, model.size, model.complete) == ("one", folder, 12, True)
    assert folder == cache / "models" / "one"


def test_nothing_is_listed_without_a_cache(cache: Path):
    assert list_models() == []


def test_a_complete_model_is_not_built_again(cache: Path):
    def fail(_: Path) -> Path:
        raise AssertionError("built again")

    assert store_model("one", build, needed=12) == store_model("one", fail, needed=12)


def test_a_model_that_lost_a_file_is_listed_as_incomplete_and_built_again(cache: Path):
    folder = store_model("one", build, needed=12)
    (folder / "model.safetensors").unlink()
    assert [model.complete for model in list_models()] == [False]
    store_model("one", build, needed=12)
    assert [model.complete for model in list_models()] == [True]


def test_a_failed_build_leaves_nothing(cache: Path):
    def fail(scratch: Path) -> Path:
        build(scratch)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store_model("one", fail, needed=12)
    assert [path.name for path in models_dir().iterdir()] == [".lock"]


# /dev/full answers every write as a full disk does: to Python's files, and to the Rust libraries.
def write_from_python(_: Path) -> Path:
    with open("/dev/full", "w") as full:
        full.write("x")
    return Path("/dev/full")


def write_from_rust(_: Path) -> Path:
    Tokenizer(BPE()).save("/dev/full")
    return Path("/dev/full")


@pytest.mark.parametrize("write", [write_from_python, write_from_rust])
def test_a_full_disk_names_the_folder_and_what_is_needed(write, cache: Path):
    with pytest.raises(DownloadError, match=rf"disk of {cache / 'models'} is full: free 3\.5 GB"):
        store_model("one", write, needed=3_500_000_000)
    assert list_models() == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOGWILD_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"file/models cannot be written .*HOGWILD_CACHE"):
        store_model("one", build, needed=12)
