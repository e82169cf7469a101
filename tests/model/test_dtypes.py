"""The dtype of a model that the user does not choose."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, LlamaConfig

from hogwild_dist.errors import ConfigError
from hogwild_dist.model.dtypes import checkpoint_dtype, default_dtype, named_dtype
from hogwild_dist.model.loader import read_model
from hogwild_dist.model.small_model import random_model
from tests.families import SIZES

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
HALVES = [torch.bfloat16, torch.float16]
OTHERS = [torch.float32, torch.float64, None]


@pytest.fixture
def cpu_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.mark.usefixtures("cpu_with_bfloat16")
def test_a_cpu_with_instructions_for_bfloat16_computes_such_a_checkpoint_in_it() -> None:
    assert default_dtype(CPU, torch.bfloat16) is torch.bfloat16


@pytest.mark.usefixtures("cpu_with_bfloat16")
@pytest.mark.parametrize("checkpoint", [torch.float16, *OTHERS])
def test_a_cpu_computes_other_checkpoints_in_float32(checkpoint: torch.dtype | None) -> None:
    assert default_dtype(CPU, checkpoint) is torch.float32


def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert default_dtype(CPU, torch.bfloat16) is torch.float32


@pytest.mark.parametrize("checkpoint", [*HALVES, *OTHERS])
def test_a_gpu_keeps_half_precision_and_computes_the_rest_in_bfloat16(
    checkpoint: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    expected = checkpoint if checkpoint in HALVES else torch.bfloat16
    assert default_dtype(GPU, checkpoint) is expected


def test_a_gpu_without_bfloat16_computes_it_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert default_dtype(GPU, torch.bfloat16) is torch.float32
    assert default_dtype(GPU, torch.float16) is torch.float16


def test_an_unknown_name_is_refused() -> None:
    assert named_dtype("float16") is torch.float16
    with pytest.raises(ConfigError, match="Unknown dtype 'int4'; use one of float64"):
        named_dtype("int4")


@pytest.fixture
def bfloat16_folder(tmp_path: Path) -> Path:
    model = random_model(LlamaConfig(**SIZES), dtype=torch.bfloat16, device=CPU)
    model.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("named", [True, False])
def test_the_configuration_or_else_a_file_tells_the_dtype(
    bfloat16_folder: Path, named: bool
) -> None:
    config = AutoConfig.from_pretrained(bfloat16_folder)
    assert config.dtype is torch.bfloat16
    if not named:
        config.dtype = None
    assert checkpoint_dtype(config, bfloat16_folder) is torch.bfloat16


def test_without_files_the_dtype_is_unknown(tmp_path: Path) -> None:
    assert checkpoint_dtype(LlamaConfig(**SIZES), tmp_path) is None


@pytest.mark.usefixtures("cpu_with_bfloat16")
@pytest.mark.parametrize(("name", "dtype"), [(None, torch.bfloat16), ("float32", torch.float32)])
def test_a_model_is_loaded_in_the_dtype_of_its_checkpoint_or_the_named_one(
    bfloat16_folder: Path, name: str | None, dtype: torch.dtype
) -> None:
    model = read_model(bfloat16_folder, device="cpu", dtype=name)
    assert model.dtype is dtype
    assert model.new_cache(1).keys[0].dtype is dtype
