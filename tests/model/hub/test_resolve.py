import shutil
from pathlib import Path

import pytest

from hogwild_dist.errors import ModelError
from hogwild_dist.model.hub import Progress, list_models, resolve_model


def test_a_model_folder_is_used_as_it_is(converted: Path):
    assert resolve_model(str(converted)) == converted


def test_a_hub_id_is_handed_on(cache: Path):
    assert resolve_model("organisation/name-1.5") == "organisation/name-1.5"


def test_a_gguf_file_is_converted_once_whatever_it_is_called(
    cache: Path, tiny_gguf: Path, tmp_path: Path
):
    reports: list[Progress] = []
    folder = resolve_model(str(tiny_gguf), reports.append)
    copy = shutil.copy(tiny_gguf, tmp_path / "copy.gguf")
    assert resolve_model(str(copy), reports.append) == folder
    stages = [report.stage for report in reports]
    assert stages == ["checking", "converting", "checking"]


def test_a_converted_file_is_found_by_the_name_in_the_list(cache: Path, tiny_gguf: Path):
    folder = resolve_model(str(tiny_gguf))
    (model,) = list_models()
    assert model.name.startswith("tiny-")
    assert resolve_model(model.name) == folder


def test_what_lies_beside_a_gguf_file_is_not_used(cache: Path, tiny_gguf: Path, tmp_path: Path):
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "generation_config.json").write_text('{"eos_token_id": 99}')
    (beside / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}')
    folder = resolve_model(str(shutil.copy(tiny_gguf, beside)))
    assert isinstance(folder, Path)
    assert '"eos_token_id": 2' in (folder / "generation_config.json").read_text()


def test_a_damaged_gguf_file_leaves_nothing(cache: Path, tmp_path: Path):
    (tmp_path / "no.gguf").write_text("not such a file")
    with pytest.raises(ModelError, match=r"no\.gguf cannot be converted"):
        resolve_model(str(tmp_path / "no.gguf"))
    assert list_models() == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foo", "no model 'foo': give smollm2-135m"),
        ("./no/such", "no model './no/such'"),
        ("absent.gguf", r"no file absent\.gguf"),
        ("~nosuchuser/model", "no model '~nosuchuser/model'"),
        ("x" * 300 + "/" * 3, "no model"),
        ("", "no config.json"),
    ],
)
def test_a_name_that_fits_nothing_says_what_would(name: str, message: str, cache: Path):
    with pytest.raises(ModelError, match=message):
        resolve_model(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match=rf"{tmp_path} has no config\.json"):
        resolve_model(str(tmp_path))
