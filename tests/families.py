"""Tiny random-weight models of every proven family."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.small_model import random_model

SIZES = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}
WINDOW = 11


def scaled(**rope: Any) -> PreTrainedConfig:
    return LlamaConfig(**SIZES, rope_parameters={"rope_theta": 10_000.0, **rope})


FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "llama3": lambda: scaled(
        rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
    "linear": lambda: scaled(rope_type="linear", factor=3.0),
    "yarn": lambda: scaled(rope_type="yarn", factor=4.0, original_max_position_embeddings=64),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen3": lambda: Qwen3Config(**SIZES, head_dim=24),
    "mistral": lambda: MistralConfig(**SIZES, head_dim=16, sliding_window=WINDOW),
    "phi3": lambda: Phi3Config(
        **SIZES,
        rope_parameters={
            "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5,
        },
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **SIZES, head_dim=16, sliding_window=WINDOW, query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
}  # fmt: skip


def family_model(name: str, dtype: torch.dtype, **changes: Any) -> tuple[LoadedModel, Any]:
    """A model for shared blocks, and an untouched twin with transformers' own attention."""
    hf_models = []
    for _ in range(2):  # a configuration each, since a model keeps the one it is given
        config = FAMILIES[name]()
        for field, value in changes.items():
            setattr(config, field, value)
        hf_models.append(random_model(config, dtype=dtype, device=torch.device("cpu")).eval())
    twin, hf_model = hf_models
    twin.set_attn_implementation("eager")
    return prepare_model(hf_model, name=name), twin
