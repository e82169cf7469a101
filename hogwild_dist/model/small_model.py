"""A small model with random weights, of the same class as a large one.

Some behaviour needs long texts: tokens outside a sliding window, positions beyond the original
context. In the small model a hundred tokens are enough.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM

SHORT_WINDOW = 16
"""Sliding window of the small model, in tokens."""

SHORT_CONTEXT = 64
"""Context length in the small model's configuration, in tokens."""

_NUM_HEADS = 4
_SIZES = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_attention_heads": _NUM_HEADS,
    "head_dim": 16,
    "sliding_window": SHORT_WINDOW,
    "max_position_embeddings": SHORT_CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def shrink_config(config: Any) -> Any:
    """Return a configuration with small sizes, a short window and a short context.

    Rotary scaling, the rotated part of a head, norms and experts are kept, and the first two layers
    of each type.

    Args:
        config: configuration of a transformers decoder with rotary positions.

    Returns:
        A new configuration of the class of `config`'s text part.
    """
    text = config.get_text_config()
    fields: dict[str, Any] = text.to_dict()
    layers = _chosen_layers(fields.get("layer_types"))
    for name, value in fields.items():
        if isinstance(value, list) and len(value) == text.num_hidden_layers:
            fields[name] = [value[layer] for layer in layers]
    fields |= {name: size for name, size in _SIZES.items() if fields.get(name) is not None}
    fields["num_hidden_layers"] = len(layers)
    if fields.get("num_key_value_heads") is not None:
        group = text.num_attention_heads // text.num_key_value_heads
        fields["num_key_value_heads"] = max(1, _NUM_HEADS // group)
    fields["rope_parameters"] = _short_context(fields["rope_parameters"])
    fields.pop("quantization_config", None)
    return type(text).from_dict(fields)


def random_model(config: Any, *, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a model with random weights whose matrices keep the scale of their input.

    The usual small random weights leave all attention scores near zero, which would hide faults.

    Args:
        config: configuration of the model.
        dtype: dtype of the weights.
        device: device of the weights.
    """
    auto_model: Any = AutoModelForCausalLM
    hf_model = auto_model.from_config(config, dtype=dtype, trust_remote_code=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in hf_model.parameters():
            if weight.dim() > 1:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn / weight.shape[-1] ** 0.5)
    return hf_model.to(device)


def _chosen_layers(layer_types: Sequence[str] | None) -> list[int]:
    """Return the indices of the first two layers of each type."""
    if not layer_types:
        return [0, 1]
    return [index for index, kind in enumerate(layer_types) if layer_types[:index].count(kind) < 2]


def _short_context(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return RoPE parameters (flat, or a mapping per layer type) with a short original context."""
    short = dict(parameters)
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            short[name] = _short_context(value)
        elif name == "original_max_position_embeddings":
            short[name] = SHORT_CONTEXT // 2
    return short
