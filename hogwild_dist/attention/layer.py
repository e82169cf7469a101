"""The function that transformers' own model code calls once a layer in place of its attention."""

from typing import Any

import torch
from torch import Tensor

from hogwild_dist.attention.backend import ScoreRule, StepAttention
from hogwild_dist.errors import ModelError
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.cache import KVCache

ATTENTION_NAME = "hogwild"

REFUSED = {
    "attention_mask": "makes attention masks of its own",
    "softcap": "caps its attention scores",
    "s_aux": "gives a part of its attention to learned sinks",
}
"""Argument that a model's attention passes -> why a merge of blocks cannot reproduce it."""


class StepContext:
    """State shared by the attention layers of one forward pass; transformers passes it through.

    Args:
        cache: holds the blocks.
        slots: ``[num_tokens]`` slab slots that receive the new K and V.
        attention: attends from the new tokens to the blocks.
        peers: exchange that brings the peers' new K and V layer by layer; None if no row sees
            them in this step.
    """

    def __init__(
        self,
        cache: KVCache,
        slots: Tensor,
        attention: StepAttention,
        peers: LayerExchange | None = None,
    ) -> None:
        self.cache = cache
        self.slots = slots
        self.attention = attention
        self.peers = peers


def hogwild_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    hogwild: StepContext | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend over shared blocks; transformers calls this in every attention layer.

    Args:
        module: the attention module; only its `layer_idx` is read.
        query: ``[1, H * G, N, D]``, rotated at block-local positions.
        key: ``[1, H, N, D]``, rotated at block-local positions.
        value: ``[1, H, N, D]``.
        attention_mask: None; the plan decides which keys are visible.
        scaling: factor of the scores.
        hogwild: shared state of the forward pass; None if the model does not pass it on.
        sliding_window: sliding window in tokens of the worker's view, or None.
        **kwargs: further arguments of transformers.

    Raises:
        ModelError: the model changes scores in a way that a merge of blocks cannot reproduce, or
            does not pass the step's state to its attention.
    """
    if hogwild is None:
        raise _refusal("does not pass further arguments to its attention")
    asked = {**kwargs, "attention_mask": attention_mask}
    for name, reason in REFUSED.items():
        if asked.get(name) is not None:
            raise _refusal(reason)
    layer: int = module.layer_idx  # type: ignore[assignment]
    hogwild.cache.write(layer, hogwild.slots, key[0], value[0])
    if hogwild.peers is not None:
        hogwild.peers.send_layer(layer)
    rule = ScoreRule(scaling, sliding_window)
    return hogwild.attention.attend(layer, query[0], rule, hogwild.peers)[None], None


def register() -> None:
    """Register ``attn_implementation="hogwild"`` with transformers.

    No function for masks is registered under this name, so that transformers prepares none. To look
    for packed sequences, it would wait for the device in every step.
    """
    from transformers import AttentionInterface  # noqa: PLC0415  # loads all modelling code

    AttentionInterface.register(ATTENTION_NAME, hogwild_attention)


def _refusal(reason: str) -> ModelError:
    return ModelError(
        f"The model cannot share blocks, because it {reason}; choose a decoder with plain rotary "
        "positions, such as a Llama, Qwen or Mistral model."
    )
