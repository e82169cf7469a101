"""Copies K and V between the cache's slabs and flat byte buffers, layer by layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild_dist.kvcache.cache import KVCache


def token_bytes(cache: KVCache, layers: Sequence[int]) -> int:
    """Return the bytes of K and V of one token in some layers."""
    return sum(
        slab.shape[0] * slab.shape[2] * slab.element_size()
        for layer in layers
        for slab in (cache.keys[layer], cache.values[layer])
    )


def views(cache: KVCache, layers: Sequence[int], num_tokens: int, buffer: Tensor) -> list[Tensor]:
    """Return the parts of a buffer: K and V of each layer in turn.

    Args:
        cache: cache that determines shapes and dtype.
        layers: indices of the layers.
        num_tokens: number of tokens in the buffer.
        buffer: ``[num_tokens * token_bytes(cache, layers)]`` bytes.

    Returns:
        Tensors ``[num_kv_heads, num_tokens, head_dim]``.
    """
    parts = []
    begin = 0
    for layer in layers:
        for slab in (cache.keys[layer], cache.values[layer]):
            size = slab.shape[0] * num_tokens * slab.shape[2] * slab.element_size()
            shape = (slab.shape[0], num_tokens, slab.shape[2])
            parts.append(buffer[begin : begin + size].view(slab.dtype).view(shape))
            begin += size
    return parts


def pack(cache: KVCache, layers: Sequence[int], slots: Tensor, parts: Sequence[Tensor]) -> None:
    """Copy K and V of some slots into the parts of a buffer.

    Args:
        cache: cache to copy from.
        layers: indices of the layers.
        slots: ``[num_tokens]`` slab slots.
        parts: parts of the buffer, from `views`.
    """
    if len(slots):
        for slab, part in zip(_slabs(cache, layers), parts, strict=True):
            torch.index_select(slab, 1, slots, out=part)


def unpack(cache: KVCache, layers: Sequence[int], slots: Tensor, parts: Sequence[Tensor]) -> None:
    """Copy the parts of a buffer that `pack` filled on any rank into slots of this cache."""
    if len(slots):
        for layer, keys, values in zip(layers, parts[::2], parts[1::2], strict=True):
            cache.write(layer, slots, keys, values)


def _slabs(cache: KVCache, layers: Sequence[int]) -> list[Tensor]:
    return [slab for layer in layers for slab in (cache.keys[layer], cache.values[layer])]
