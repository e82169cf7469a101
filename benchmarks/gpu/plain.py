"""Decode steps of plain transformers, with a fixed cache and a CUDA graph: the fair baseline."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class FixedLayer(DynamicLayer):
    """A cache of a fixed length, whose last place the new token takes in every step.

    It holds no padding and copies nothing, so that attention needs no mask and a graph can be
    captured.
    """

    def fix(self, keys: Tensor, values: Tensor) -> None:
        """Take keys and values, ``[num_sequences, num_kv_heads, length + 1, head_dim]``."""
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the new token at the last place."""
        self.keys[:, :, -1:].copy_(key_states)
        self.values[:, :, -1:].copy_(value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the number of tokens before the new one."""
        return int(self.keys.shape[-2]) - 1


def plain_step(
    model: Any, *, sequences: int, context: int, device: torch.device
) -> Callable[[], Any]:
    """Return a decode step of separate sequences: forward pass, greedy choice, ids on the host.

    Args:
        model: transformers model with its own attention.
        sequences: number of sequences, each with a cache of its own.
        context: tokens that each sequence sees.
        device: device of the model; on a GPU the step is a graph.
    """
    config = model.config
    shape = (sequences, config.num_key_value_heads, context, config.head_dim)
    cache = DynamicCache(config=config)
    cache.layers = [FixedLayer() for _ in range(config.num_hidden_layers)]
    for layer in cache.layers:
        layer.fix(*(torch.randn(shape, dtype=model.dtype, device=device) for _ in range(2)))
    ids = torch.full((sequences, 1), 7, device=device)
    positions = torch.full((sequences, 1), context - 1, device=device)

    @torch.inference_mode()
    def forward() -> Tensor:
        output = model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)
        chosen: Tensor = output.logits[:, -1].argmax(-1)
        return chosen

    if device.type != "cuda":
        return lambda: forward().tolist()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        chosen = forward()

    def replay() -> list[int]:
        graph.replay()
        found: list[int] = chosen.tolist()
        return found

    return replay
