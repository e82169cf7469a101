"""What a model's generation_config.json recommends, beside what transformers would do."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ModelError
from hogwild_dist.model.generation_defaults import sampling_defaults
from hogwild_dist.model.loader import read_model


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({}, None),
        ({"temperature": 0.6, "top_p": 0.9}, None),  # greedy without do_sample
        ({"do_sample": False, "repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ({"do_sample": True}, {"temperature": 1.0}),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1},
            {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1},
        ),
        ({"do_sample": True, "temperature": 0.0}, None),
        ({"do_sample": True, "top_k": 50.0}, {"temperature": 1.0, "top_k": 50}),
    ],
)
def test_the_recommended_sampling(fields: dict[str, Any], right: dict[str, Any] | None) -> None:
    config = GenerationConfig()
    for name, value in fields.items():
        setattr(config, name, value)
    found = sampling_defaults(config, "m")
    assert found == (None if right is None else SamplingConfig(**right))


@pytest.mark.parametrize(
    "fields",
    [
        {"repetition_penalty": -1.0},
        {"do_sample": True, "top_k": 2.5},
        {"do_sample": True, "temperature": "hot"},
        {"do_sample": True, "temperature": float("nan")},
        {"do_sample": True, "top_p": 7.0},
    ],
)
def test_a_setting_out_of_range_is_named(fields: dict[str, Any]) -> None:
    config = GenerationConfig()
    for name, value in fields.items():
        setattr(config, name, value)
    with pytest.raises(ModelError, match=r"generation_config.json of 'm' .*; correct the file\.$"):
        sampling_defaults(config, "m")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", r"cannot be read \("),
        (b"[]", "holds a list where an object is needed"),
        (b'"\xff"', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
    ids=["torn", "list", "bytes", "deep"],
)
def test_a_damaged_file_is_named(
    content: bytes, reason: str, tiny_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_dir, folder)
    (folder / "generation_config.json").write_bytes(content)
    with pytest.raises(
        ModelError, match=rf"generation_config.json of .* {reason}.*delete the file"
    ):
        read_model(folder)
    (folder / "generation_config.json").unlink()
    assert read_model(folder).info.vocab_size > 0
