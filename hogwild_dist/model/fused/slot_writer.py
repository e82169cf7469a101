"""How a model's cache writes keys and values: in one launch, if that writes the same."""

from functools import partial

import torch
from torch import Tensor

from hogwild_dist.kvcache.cache import LayerShape
from hogwild_dist.kvcache.slot_writer import SlotWriter, write_by_index
from hogwild_dist.model.fused.operations import write_both
from hogwild_dist.model.fused.trial import TRIAL_TOKENS, agree, random


@torch.inference_mode()
def find_slot_writer(shape: LayerShape, device: torch.device, dtype: torch.dtype) -> SlotWriter:
    """Return `write_both`, or `write_by_index` where it does not run or writes something else.

    Args:
        shape: shape of the layers.
        device: device of the cache.
        dtype: dtype of the cache.
    """
    heads = shape.num_kv_heads
    both = random((TRIAL_TOKENS, 2 * heads, shape.head_dim), device, dtype).transpose(0, 1)
    inputs = both[:heads], both[heads:]
    own, fused = (partial(_written, writer) for writer in (write_by_index, write_both))
    return write_both if agree("write of keys and values", own, fused, inputs) else write_by_index


def _written(writer: SlotWriter, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
    """Return slabs of keys and values after a write to slots that do not follow each other."""
    num_heads, num_tokens, head_dim = keys.shape
    slots = torch.arange(num_tokens, device=keys.device).flip(0) * 2
    key_slab, value_slab = keys.new_zeros((2, num_heads, 2 * num_tokens, head_dim))
    writer(key_slab, value_slab, slots, keys, values)
    return key_slab, value_slab
