"""Models with random weights in the shapes of published ones."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of a model.

    Attributes:
        hidden: size of the residual stream.
        inner: size of the feed-forward layer.
        layers: number of layers.
        heads: number of query heads.
        kv_heads: number of key-value heads.
        head_dim: head size.
        vocab: number of token ids.
        tied: whether input and output embeddings are one.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int = 128
    vocab: int = 151_936
    tied: bool = False

    def config(self) -> Qwen3Config:
        """Return a configuration of this shape."""
        return Qwen3Config(
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            vocab_size=self.vocab,
            tie_word_embeddings=self.tied,
            max_position_embeddings=40_960,
            layer_types=["full_attention"] * self.layers,
        )


SHAPES = {
    "tiny": Shape(hidden=64, inner=128, layers=2, heads=4, kv_heads=2, head_dim=32, vocab=500),
    "Qwen3-8B": Shape(hidden=4_096, inner=12_288, layers=36, heads=32, kv_heads=8),
    "Qwen3-0.6B": Shape(hidden=1_024, inner=3_072, layers=28, heads=16, kv_heads=8, tied=True),
    "Qwen3-32B": Shape(hidden=5_120, inner=25_600, layers=64, heads=64, kv_heads=8),
}


def random_model(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a model of a shape with random weights, made on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape.config(), dtype=dtype)
    return model.eval().requires_grad_(False)


def weight_bytes(model: Any) -> int:
    """Return the bytes of weights that a decode step reads: all but rows of the input embedding."""
    read = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if embedding.weight is not head.weight:
        del read[id(embedding.weight)]
    return sum(read.values())
