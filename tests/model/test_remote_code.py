"""The code in a model's folder is never run, whatever standard input says."""

import io
import json
from pathlib import Path

import pytest
import torch

from hogwild_dist.errors import ModelError
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.model.small_model import random_model
from tests.families import FAMILIES
from tests.tiny_tokenizer import byte_tokenizer

CODE = """
open({marker!r}, "w").write("ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


class Own(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = Own


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


class Unread(io.StringIO):
    """Standard input that agrees to everything, and notices when it is asked."""

    def readline(self, size: int | None = -1, /) -> str:
        raise AssertionError("standard input was read")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole model whose folder offers code for everything."""
    folder = tmp_path / "model"
    random_model(
        FAMILIES["llama"](), dtype=torch.float32, device=torch.device("cpu")
    ).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    (folder / "own.py").write_text(CODE.format(marker=str(tmp_path / "RAN")))
    monkeypatch.setattr("sys.stdin", Unread("y\n" * 10))
    return folder


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


AUTO_MAP = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}


def test_a_type_that_only_the_folder_knows_is_refused(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", model_type="own", auto_map=AUTO_MAP)
    with pytest.raises(ModelError, match=r"needs the code in its own folder \(auto_map\)"):
        load_model(folder)
    assert not (tmp_path / "RAN").exists()


def test_a_known_type_is_loaded_without_the_folder_s_code(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", auto_map=AUTO_MAP)
    assert load_model(folder).info.type == "llama"
    assert not (tmp_path / "RAN").exists()


def own_tokenizer(folder: Path, kind: str) -> None:
    auto_map = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    change(folder / "tokenizer_config.json", tokenizer_class=kind, auto_map=auto_map)


def test_a_known_tokenizer_is_loaded_without_the_folder_s_code(
    folder: Path, tmp_path: Path
) -> None:
    own_tokenizer(folder, "PreTrainedTokenizerFast")
    assert load_tokenizer(folder).encode("a") == byte_tokenizer().encode("a")
    assert not (tmp_path / "RAN").exists()


def test_a_tokenizer_that_only_the_folder_knows_is_refused(folder: Path, tmp_path: Path) -> None:
    own_tokenizer(folder, "OwnTokenizer")
    with pytest.raises(ModelError, match=r"The tokenizer of .* needs the code in its own folder"):
        load_tokenizer(folder)
    assert not (tmp_path / "RAN").exists()


def test_any_error_of_a_tokenizer_s_folder_is_one_sentence(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ModelError, match=r"The tokenizer of '.*model' cannot be loaded: ") as error:
        load_tokenizer(folder)
    assert "\n" not in str(error.value)
