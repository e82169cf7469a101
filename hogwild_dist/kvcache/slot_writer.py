"""`SlotWriter`: copies new keys and values into slots of a layer's slabs."""

from collections.abc import Callable

from torch import Tensor

SlotWriter = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
"""Copies keys and values as `write_by_index` does, with its arguments."""


def write_by_index(
    key_slab: Tensor, value_slab: Tensor, slots: Tensor, keys: Tensor, values: Tensor
) -> None:
    """Copy keys and values into slots, by one operation of PyTorch for each.

    What a slot holds that is named more than once is not defined.

    Args:
        key_slab: ``[num_kv_heads, num_slots, head_dim]`` keys of a layer.
        value_slab: shaped like `key_slab`; its values.
        slots: ``[num_tokens]`` slots, int64.
        keys: ``[num_kv_heads, num_tokens, head_dim]`` new keys.
        values: shaped like `keys`; new values.
    """
    key_slab.index_copy_(1, slots, keys)
    value_slab.index_copy_(1, slots, values)
