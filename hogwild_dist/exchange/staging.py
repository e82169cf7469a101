"""Moves K and V between the cache's slabs and flat byte buffers, layer by layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild_dist.cache import KVCache


def token_bytes(cache: KVCache, layers: Sequence[int]) -> int:
    """Bytes of K and V of one token in some layers."""
    return sum(
        cache.keys[layer][:, 0].nbytes + cache.values[layer][:, 0].nbytes for layer in layers
    )


def pack(cache: KVCache, layers: Sequence[int], slots: Tensor, out: Tensor) -> None:
    """Copy K and V of some slots into a buffer.

    Args:
        cache: the source.
        layers: which.
        slots: ``[num_tokens]``.
        out: bytes, ``num_tokens * token_bytes(cache, layers)`` of them.
    """
    for part, slab in _parts(cache, layers, slots, out):
        torch.index_select(slab, 1, slots, out=part)


def unpack(cache: KVCache, layers: Sequence[int], slots: Tensor, data: Tensor) -> None:
    """Store what `pack` wrote, perhaps elsewhere, into some slots of this cache."""
    for part, slab in _parts(cache, layers, slots, data):
        slab.index_copy_(1, slots, part)


def _parts(
    cache: KVCache, layers: Sequence[int], slots: Tensor, buffer: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a buffer's part, ``[num_kv_heads, num_tokens, head_dim]``, and its slab."""
    parts = []
    begin = 0
    for layer in layers:
        for slab in (cache.keys[layer], cache.values[layer]):
            shape = (slab.shape[0], len(slots), slab.shape[2])
            size = shape[0] * shape[1] * shape[2] * slab.element_size()
            part = buffer[begin : begin + size].view(slab.dtype).view(shape)
            parts.append((part, slab))
            begin += size
    return parts
