"""Rotary positions (RoPE): the frequencies of each layer, and rotation by a distance.

A query that was rotated at position p and is rotated by d equals one rotated at p + d (rotations
compose), so one stored key serves every worker: paper section 3.4, "query rotation".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.errors import ModelError

PROVEN_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
"""RoPE types whose frequencies depend neither on the length nor on the position of the text."""


@dataclass(frozen=True, kw_only=True)
class RotaryTables:
    """Inverse frequencies of each layer.

    Attributes:
        inv_freq: one tensor for each rotary table, ``[rotary_dim / 2]`` in float64, in radians per
            token.
        table_of_layer: index into `inv_freq` for each layer.
    """

    inv_freq: tuple[Tensor, ...]
    table_of_layer: tuple[int, ...]

    def rotation(self, distance: Tensor, layer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines that rotate a head forward by `distance` tokens.

        The attention scaling that YaRN multiplies into cos and sin is left out: the model's own
        rotation has already applied it to q and k.

        Args:
            distance: ``[num_tokens]`` integers; negative ones rotate back.
            layer: index of the layer.
            dtype: dtype of the heads; the result has at least single precision.

        Returns:
            Two tensors ``[num_tokens, rotary_dim]`` for `rotate`.
        """
        angle = distance.to(torch.float64)[:, None] * self.inv_freq[self.table_of_layer[layer]]
        cos, sin = angle.cos(), angle.sin()
        wide = torch.promote_types(dtype, torch.float32)
        return torch.cat((cos, cos), -1).to(wide), torch.cat((-sin, sin), -1).to(wide)

    @classmethod
    def from_model(cls, model: Any) -> "RotaryTables":
        """Read the tables from a transformers decoder.

        Raises:
            ModelError: the model has no rotary positions, or their kind cannot be rotated.
        """
        # A few models call their output layer the decoder.
        decoder = model.get_decoder()
        owner = decoder if hasattr(decoder, "rotary_emb") else model.base_model
        config, rotary = model.config.get_text_config(), getattr(owner, "rotary_emb", None)
        name = config.model_type
        num_layers = config.num_hidden_layers
        if rotary is None:
            raise ModelError(
                f"Model type {name!r} has no rotary table that its layers share, which "
                "shared blocks need; choose a model such as Llama, Qwen or Mistral."
            )
        if not isinstance(rotary.rope_type, dict):
            check_rope_type(name, rotary.rope_type)
            table = rotary.inv_freq.to(torch.float64)
            return cls(inv_freq=(table,), table_of_layer=(0,) * num_layers)
        layer_types: Sequence[str] = config.layer_types
        kinds = sorted(set(layer_types))
        for kind in kinds:
            check_rope_type(name, rotary.rope_type.get(kind, "none"))
        tables = tuple(getattr(rotary, f"{kind}_inv_freq").to(torch.float64) for kind in kinds)
        return cls(inv_freq=tables, table_of_layer=tuple(kinds.index(kind) for kind in layer_types))


def check_rope_type(model_type: str, rope_type: str) -> None:
    """Refuse RoPE types that are not proven to survive a rotation by blocks.

    Raises:
        ModelError: the RoPE type is not among the proven ones.
    """
    if rope_type not in PROVEN_ROPE_TYPES:
        raise ModelError(
            f"Model type {model_type!r} uses the rope type {rope_type!r}, whose angles cannot be "
            f"rotated block by block; proven are {', '.join(sorted(PROVEN_ROPE_TYPES))}."
        )


def rotate(heads: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotate the rotary part of each head; the rest passes through.

    Args:
        heads: ``[..., num_tokens, head_dim]``.
        cos: ``[num_tokens, rotary_dim]``.
        signed_sin: ``[num_tokens, rotary_dim]``, the first half negated.

    Returns:
        A new tensor shaped like `heads`.
    """
    rotary_dim = cos.shape[-1]
    part = heads[..., :rotary_dim].to(cos.dtype)
    rotated = torch.addcmul(part * cos, part.roll(rotary_dim // 2, -1), signed_sin).to(heads.dtype)
    if rotary_dim == heads.shape[-1]:
        return rotated
    return torch.cat((rotated, heads[..., rotary_dim:]), -1)
