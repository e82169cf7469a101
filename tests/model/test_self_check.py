"""The self-check passes what works and refuses, with the reason, what does not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    CohereConfig,
    DeepseekV3Config,
    Gemma2Config,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    T5Config,
)

from hogwild_dist.errors import ConfigError, ModelError
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model.compatibility import check_config
from hogwild_dist.model.loaded_model import prepare_model
from hogwild_dist.model.loader import load_model, load_tokenizer, pick_device
from hogwild_dist.model.self_check import check_model, quick_check
from hogwild_dist.model.small_model import random_model
from tests.families import FAMILIES, SIZES, family_model


@pytest.mark.parametrize("name", FAMILIES)
def test_proven_families_pass(name: str) -> None:
    model, _ = family_model(name, torch.float32)
    quick_check(model)
    report = check_model(model)
    assert report.refusal is None
    assert len(report.comparisons) == 3
    assert all(0 <= done.difference <= done.tolerance for done in report.comparisons)


def rope(kind: str, **fields: Any) -> LlamaConfig:
    parameters = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 2.0, **fields}
    return LlamaConfig(**SIZES, rope_parameters=parameters)


REFUSED = [
    (GPT2Config(), "'gpt2' has learned positions"),
    (BloomConfig(), "'bloom' has ALiBi positions"),
    (T5Config(), "encoder-decoder"),
    (rope("dynamic"), "rope type 'dynamic'"),
    (
        rope("longrope", long_factor=[1.0] * 8, short_factor=[1.0] * 8,
             original_max_position_embeddings=64),
        "rope type 'longrope'",
    ),
    (Gemma2Config(**SIZES), "caps its attention scores"),
    (GptOssConfig(**SIZES), "learned sinks"),
    (DeepseekV3Config(), "multi-head latent attention"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "reason"), REFUSED, ids=lambda value: str(value)[:20])
def test_known_misfits_are_refused_by_their_configuration(config: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_config(config, "the model")


def test_interleaved_pairs_are_found_by_numbers() -> None:
    config = CohereConfig(**SIZES)
    hf_model = random_model(config, dtype=torch.float32, device=torch.device("cpu"))
    with pytest.raises(ModelError, match="do not rotate as two halves of a head"):
        quick_check(prepare_model(hf_model, name="pairs"))


def test_wrong_tables_are_found_by_numbers() -> None:
    model, _ = family_model("llama", torch.float32)
    wrong = RotaryTables(
        inv_freq=tuple(table * 1.02 for table in model.rotary.inv_freq),
        table_of_layer=model.rotary.table_of_layer,
    )
    object.__setattr__(model, "rotary", wrong)
    with pytest.raises(ModelError, match="because"):
        quick_check(model)


def test_a_folder_without_weights_and_one_without_tokenizer_are_named(tmp_path: Path) -> None:
    FAMILIES["llama"]().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"{tmp_path}.* cannot be loaded"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=r"tokenizer of .* cannot be loaded"):
        load_tokenizer(tmp_path)


def test_loading_runs_the_check(tmp_path: Path) -> None:
    config = CohereConfig(**SIZES)
    hf_model = random_model(config, dtype=torch.float32, device=torch.device("cpu"))
    hf_model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="do not rotate as two halves"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"Device '{name}' cannot be used"):
        pick_device(name)
