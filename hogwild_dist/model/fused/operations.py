"""The small operations of a layer as functions of tensors; each is one launch."""

import torch
import triton
from torch import Tensor

from hogwild_dist.model.fused.kernels import gate_columns, norm_rows, rotate_heads, write_rows

COLUMNS = 1_024
"""Columns of one program of the gate."""

WIDE_ROW = 2_048
"""Rows of this size or larger are normalised by more warps."""


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return ``x / sqrt(mean(x ** 2) + epsilon) * weight``, rounded before the product.

    Args:
        x: ``[..., D]``; the last dimension is contiguous.
        weight: ``[D]``.
        epsilon: number that is added to the mean square.
    """
    size = x.shape[-1]
    rows = _two_leading(x)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        norm_rows[(rows.shape[0] * rows.shape[1],)](
            rows, weight, out, rows.stride(0), rows.stride(1), rows.shape[1], epsilon,
            D=size, D_PADDED=triton.next_power_of_2(size), num_warps=8 if size >= WIDE_ROW else 4,
        )  # fmt: skip
    return out


def rotate_both(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Return queries and keys rotated by their positions, as transformers rotates halves.

    Args:
        q: ``[1, num_q, num_tokens, D]``; the last dimension is contiguous.
        k: ``[1, num_k, num_tokens, D]``, likewise.
        cos: ``[1, num_tokens, rotary_dim]`` cosines, likewise.
        sin: ``[1, num_tokens, rotary_dim]`` sines, with the strides of `cos`.
    """
    (_, num_q, num_tokens, size), num_k = q.shape, k.shape[1]
    q_out, k_out = (
        torch.empty((1, num_tokens, count, size), dtype=q.dtype, device=q.device)
        for count in (num_q, num_k)
    )
    rotate_heads[(num_tokens, num_q + num_k)](
        q, k, cos, sin, q_out, k_out,
        q.stride(1), q.stride(2), k.stride(1), k.stride(2), cos.stride(1), num_q, num_k,
        D=size, D_PADDED=triton.next_power_of_2(size), ROTARY=cos.shape[-1], num_warps=1,
    )  # fmt: skip
    return q_out.transpose(1, 2), k_out.transpose(1, 2)


def silu_times(gate: Tensor, up: Tensor) -> Tensor:
    """Return ``silu(gate) * up``, where the first factor is rounded.

    Args:
        gate: ``[..., num_columns]``; the last dimension is contiguous.
        up: shaped like `gate`, likewise.
    """
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    gate_rows, up_rows = _rows(gate), _rows(up)
    num_rows, num_columns = gate_rows.shape
    if num_rows:
        gate_columns[(num_rows, triton.cdiv(num_columns, COLUMNS))](
            gate_rows, up_rows, out, gate_rows.stride(0), up_rows.stride(0), num_columns, C=COLUMNS
        )
    return out


def write_both(
    key_slab: Tensor, value_slab: Tensor, slots: Tensor, keys: Tensor, values: Tensor
) -> None:
    """Copy keys and values into slots of a layer's slabs, as `write_by_index` does.

    Args:
        key_slab: ``[num_kv_heads, num_slots, D]`` keys of a layer, contiguous.
        value_slab: shaped like `key_slab`, likewise.
        slots: ``[num_tokens]`` slots.
        keys: ``[num_kv_heads, num_tokens, D]``.
        values: shaped like `keys`.
    """
    keys, values = (x if x.stride(-1) == 1 else x.contiguous() for x in (keys, values))
    num_heads, num_tokens, size = keys.shape
    if num_tokens:
        write_rows[(num_tokens, num_heads)](
            keys, values, slots, key_slab, value_slab,
            keys.stride(0), keys.stride(1), values.stride(0), values.stride(1), key_slab.stride(0),
            D=size, D_PADDED=triton.next_power_of_2(size), num_warps=1,
        )  # fmt: skip


def _rows(x: Tensor) -> Tensor:
    """Return ``[..., C]`` as ``[num_rows, C]``, without a copy for a packed batch."""
    return x[0] if x.ndim == 3 and x.shape[0] == 1 else x.reshape(-1, x.shape[-1])


def _two_leading(x: Tensor) -> Tensor:
    """Return ``[..., D]`` as ``[num_outer, num_inner, D]``, without a copy for a packed batch."""
    return x[0] if x.ndim == 4 and x.shape[0] == 1 else _rows(x)[:, None]
