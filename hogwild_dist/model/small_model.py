"""A small model with random weights, of the same class as a large one.

Some behaviour needs long texts: tokens outside a sliding window, positions beyond the original
context. In the small model a hundred tokens are enough. It has as many layers as the large one,
since layers of one model may differ (some have no positions), and it uses all of its few experts
for every token, since a choice among experts flips with rounding.
"""

from collections.abc import Mapping
from typing import Any

import torch
import transformers  # whose auto classes, when they are looked up, read every model type

SHORT_WINDOW = 16
"""Sliding window of the small model, in tokens."""

SHORT_CONTEXT = 64
"""Context length in the small model's configuration, in tokens."""

MAX_PARAMETERS = 64_000_000
"""Most parameters of a small copy."""

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
    "vocab_size_per_layer_input": 256,
    "hidden_size_per_layer_input": 16,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

_NUM_EXPERTS = 4
_EXPERTS = {
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), _NUM_EXPERTS
    ),
    **dict.fromkeys(
        ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), _NUM_EXPERTS
    ),
    **dict.fromkeys(("n_group", "num_expert_group", "topk_group"), 1),
}
"""Field -> size; the families have different names for the same sizes."""


def shrink_config(config: Any) -> Any:
    """Return a configuration with small sizes, a short window and a short context.

    Rotary scaling, the rotated part of a head, norms and the number of layers are kept.

    Args:
        config: configuration of a transformers decoder with rotary positions.

    Returns:
        A new configuration of the class of `config`'s text part.
    """
    text = config.get_text_config()
    fields: dict[str, Any] = text.to_dict()
    sizes = {**_SIZES, **_EXPERTS}
    fields |= {name: size for name, size in sizes.items() if fields.get(name) is not None}
    if "head_dim" in fields:
        fields["head_dim"] = _SIZES["head_dim"]
    if "num_key_value_heads" in fields:
        num_heads = text.num_attention_heads
        group = num_heads // (fields["num_key_value_heads"] or num_heads)
        fields["num_key_value_heads"] = max(1, _NUM_HEADS // group)
    fields["rope_parameters"] = _short_context(fields["rope_parameters"])
    fields.pop("quantization_config", None)
    return type(text).from_dict(fields)


def has_experts(config: Any) -> bool:
    """Return whether a model chooses among experts for each token."""
    fields = config.get_text_config().to_dict()
    return any(fields.get(name) for name in _EXPERTS)


def check_small(config: Any) -> None:
    """Check that a shrunk configuration gives a small model.

    Raises:
        ValueError: the model is large, because of sizes that `shrink_config` does not know.
    """
    auto_model: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        empty = auto_model.from_config(config, trust_remote_code=False)
    count = sum(weight.numel() for weight in empty.parameters())
    if count > MAX_PARAMETERS:
        raise ValueError(f"the small copy would have {count} parameters")


def random_model(config: Any, *, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a model with random weights whose matrices keep the scale of their input.

    The usual small random weights leave all attention scores near zero, which would hide faults,
    and so would norms and biases that are the same in all dimensions.

    Args:
        config: configuration of the model.
        dtype: dtype of the weights.
        device: device of the weights.
    """
    auto_model: Any = transformers.AutoModelForCausalLM
    hf_model = auto_model.from_config(config, dtype=dtype, trust_remote_code=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in hf_model.parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                weight.copy_(drawn / weight.shape[-1] ** 0.5)
            else:
                weight.add_((0.1 * drawn).to(weight.dtype))
    return hf_model.to(device)


def _short_context(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return RoPE parameters (flat, or a mapping per layer type) with a short original context."""
    short = dict(parameters)
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            short[name] = _short_context(value)
        elif name == "original_max_position_embeddings":
            short[name] = SHORT_CONTEXT // 2
    return short
