"""The self-check passes what works and refuses, with the reason, what does not."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AfmoeConfig,
    BloomConfig,
    CodeGenConfig,
    CohereConfig,
    DeepseekV3Config,
    Exaone4Config,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GptOssConfig,
    GraniteMoeConfig,
    HunYuanDenseV1Config,
    JetMoeConfig,
    LlamaConfig,
    Ministral3Config,
    MoshiConfig,
    NemotronConfig,
    PhimoeConfig,
    RecurrentGemmaConfig,
    RoFormerConfig,
    T5Config,
)

from hogwild_dist.errors import ConfigError, ModelError
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model import compatibility, small_model
from hogwild_dist.model.compatibility import check_config
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.loader import load_model, load_tokenizer, pick_device
from hogwild_dist.model.self_check import check_model
from hogwild_dist.model.small_model import random_model
from tests.families import FAMILIES, SIZES, family_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FAMILIES)
def test_proven_families_pass(name: str, dtype: torch.dtype) -> None:
    model, _ = family_model(name, dtype)
    report = check_model(model)
    assert report.refusal is None
    assert len(report.comparisons) == 4
    assert all(0 <= done.difference <= done.tolerance for done in report.comparisons)


def tiny(config: Any, dtype: torch.dtype = torch.float32) -> LoadedModel:
    hf_model = random_model(config, dtype=dtype, device=torch.device("cpu"))
    return prepare_model(hf_model, name="the model")


LAYERS = ["sliding_attention"] * 3 + ["full_attention"]
NO_POSITIONS = {
    "exaone4": lambda: Exaone4Config(
        **{**SIZES, "num_hidden_layers": 4}, head_dim=16, sliding_window=4096,
        sliding_window_pattern="LLLG", layer_types=LAYERS,
    ),
    "afmoe": lambda: AfmoeConfig(
        **{**SIZES, "num_hidden_layers": 4}, head_dim=16, sliding_window=4096, layer_types=LAYERS,
        global_attn_every_n_layers=4, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=32, num_dense_layers=1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NO_POSITIONS)
def test_layers_without_positions_are_found_in_every_dtype(name: str, dtype: torch.dtype) -> None:
    error = check_model(tiny(NO_POSITIONS[name](), dtype)).refusal
    assert re.search("because it has no positions in layer 3 of 4", str(error))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("config", [PhimoeConfig, GraniteMoeConfig])
def test_a_choice_of_experts_that_rounding_changes_is_no_fault(
    config: Any, dtype: torch.dtype
) -> None:
    report = check_model(tiny(config(**SIZES, num_local_experts=4), dtype))
    assert report.refusal is None


def test_a_gemma_2_without_cap_passes() -> None:
    config = Gemma2Config(**SIZES, head_dim=16, attn_logit_softcapping=None)
    assert check_model(tiny(config)).refusal is None


def test_keys_that_are_normalised_after_their_rotation_are_found_by_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compatibility, "REASON_OF_TYPE", {})
    config = HunYuanDenseV1Config(**SIZES, head_dim=16)
    error = check_model(tiny(config)).refusal
    assert "because it changes the length of its keys after their rotation (" in str(error)


def test_a_model_without_small_copy_is_checked_in_float32_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(small_model, "MAX_PARAMETERS", 1)
    report = check_model(tiny(LlamaConfig(**SIZES)))
    assert report.refusal is None
    assert "100 + 80 + 20 tokens" in report.comparisons[1].what
    with pytest.raises(ModelError, match=r"only in float32.*add --dtype float32"):
        check_model(tiny(LlamaConfig(**SIZES), torch.bfloat16))


def test_errors_of_the_model_s_own_code_stay_inside() -> None:
    with pytest.raises(ModelError, match="because it does not pass further arguments") as error:
        check_model(tiny(NemotronConfig(**SIZES, head_dim=16)))
    assert "TypeError" not in str(error.value)


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
    (GPTJConfig(), "'gptj' rotates interleaved pairs"),
    (CodeGenConfig(), "'codegen' rotates interleaved pairs"),
    (RoFormerConfig(), "'roformer' rotates interleaved pairs"),
    (HunYuanDenseV1Config(**SIZES, head_dim=16), "normalises its keys after their rotation"),
    (JetMoeConfig(), "lets each token choose among experts for its attention"),
    (MoshiConfig(), "keeps its rotary tables inside its attention layers"),
    (RecurrentGemmaConfig(), "layers of the type 'recurrent'"),
    (Ministral3Config(), "scales queries by their absolute position"),
    (DeepseekV3Config(), "multi-head latent attention"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "reason"), REFUSED, ids=lambda value: str(value)[:20])
def test_known_misfits_are_refused_by_their_configuration(config: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_config(config, "the model")


def test_interleaved_pairs_are_found_by_numbers() -> None:
    error = check_model(tiny(CohereConfig(**SIZES))).refusal
    assert "because it does not rotate its keys as two halves of a head (" in str(error)


def test_wrong_tables_are_found_by_numbers() -> None:
    model, _ = family_model("llama", torch.float32)
    wrong = RotaryTables(
        inv_freq=tuple(table * 1.02 for table in model.rotary.inv_freq),
        table_of_layer=model.rotary.table_of_layer,
    )
    object.__setattr__(model, "rotary", wrong)
    assert "because it does not rotate its keys as two halves" in str(check_model(model).refusal)


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
    with pytest.raises(ModelError, match="does not rotate its keys as two halves"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"Device '{name}' cannot be used"):
        pick_device(name)
