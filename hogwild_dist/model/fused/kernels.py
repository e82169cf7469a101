"""The Triton kernels of a layer's small operations: they read each number once and write it once.

Kernels have no typed signatures that a type checker could follow.
"""
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl


@triton.jit
def norm_rows(  # noqa: PLR0917
    x_ptr, weight_ptr, out_ptr, x_outer, x_inner, num_inner, epsilon,
    D: tl.constexpr, D_PADDED: tl.constexpr,
):  # fmt: skip
    """Divide a row by its root mean square, round it, and multiply it by the weight.

    Grid ``[num_outer * num_inner]``.

    Args:
        x_ptr: ``[num_outer, num_inner, D]``.
        weight_ptr: ``[D]``.
        out_ptr: ``[num_outer, num_inner, D]``, contiguous.
        x_outer: stride of the first dimension.
        x_inner: stride of the second dimension.
        num_inner: size of the second dimension.
        epsilon: number that is added to the mean square.
        D: size of a row.
        D_PADDED: the next power of two.
    """
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, D_PADDED)
    inside = place < D
    begin = (row // num_inner) * x_outer + (row % num_inner) * x_inner
    stored = tl.load(x_ptr + begin + place, mask=inside, other=0.0)
    x = stored.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 0) / D + epsilon)
    normal = (x * scale).to(stored.dtype).to(tl.float32)
    weight = tl.load(weight_ptr + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * D + place, (normal * weight).to(stored.dtype), mask=inside)


@triton.jit
def rotate_heads(  # noqa: PLR0917
    q_ptr, k_ptr, cos_ptr, sin_ptr, q_out_ptr, k_out_ptr,
    q_head, q_token, k_head, k_token, angle_token, num_q, num_k,
    D: tl.constexpr, D_PADDED: tl.constexpr, ROTARY: tl.constexpr,
):  # fmt: skip
    """Rotate a head of one token: ``x * cos + (-second half, first half) * sin``.

    Grid ``[num_tokens, num_q + num_k]``. What follows the rotary part passes through.

    Args:
        q_ptr: ``[num_q, num_tokens, D]``.
        k_ptr: ``[num_k, num_tokens, D]``.
        cos_ptr: ``[num_tokens, ROTARY]``.
        sin_ptr: ``[num_tokens, ROTARY]``.
        q_out_ptr: ``[num_tokens, num_q, D]``, contiguous.
        k_out_ptr: ``[num_tokens, num_k, D]``, contiguous.
        q_head: stride of a query head.
        q_token: stride of a query token.
        k_head: stride of a key head.
        k_token: stride of a key token.
        angle_token: stride of a token's cosines and sines.
        num_q: number of query heads.
        num_k: number of key heads.
        D: head size.
        D_PADDED: the next power of two.
        ROTARY: size of the rotary part.
    """
    token = tl.program_id(0).to(tl.int64)
    index = tl.program_id(1)
    place = tl.arange(0, D_PADDED)
    half: tl.constexpr = ROTARY // 2
    mate = tl.where(place < half, place + half, tl.where(place < ROTARY, place - half, place))
    turning = place < ROTARY
    cos = tl.load(cos_ptr + token * angle_token + place, mask=turning, other=1.0).to(tl.float32)
    sin = tl.load(sin_ptr + token * angle_token + place, mask=turning, other=0.0).to(tl.float32)
    sin = tl.where(place < half, -sin, sin)
    inside = place < D
    if index < num_q:
        begin = q_ptr + index.to(tl.int64) * q_head + token * q_token
        target = q_out_ptr + (token * num_q + index) * D
        x = tl.load(begin + place, mask=inside, other=0.0).to(tl.float32)
        x_mate = tl.load(begin + mate, mask=inside, other=0.0).to(tl.float32)
        tl.store(target + place, (x * cos + x_mate * sin).to(q_out_ptr.dtype.element_ty), inside)
    else:
        index -= num_q
        begin = k_ptr + index.to(tl.int64) * k_head + token * k_token
        target = k_out_ptr + (token * num_k + index) * D
        x = tl.load(begin + place, mask=inside, other=0.0).to(tl.float32)
        x_mate = tl.load(begin + mate, mask=inside, other=0.0).to(tl.float32)
        tl.store(target + place, (x * cos + x_mate * sin).to(k_out_ptr.dtype.element_ty), inside)


@triton.jit
def gate_columns(  # noqa: PLR0917
    gate_ptr, up_ptr, out_ptr, gate_row, up_row, num_columns, C: tl.constexpr
):
    """Multiply ``silu(gate)``, rounded, by `up`.

    Grid ``[num_rows, ceil(num_columns / C)]``.

    Args:
        gate_ptr: ``[num_rows, num_columns]``.
        up_ptr: ``[num_rows, num_columns]``.
        out_ptr: ``[num_rows, num_columns]``, contiguous.
        gate_row: stride of a row of `gate_ptr`.
        up_row: stride of a row of `up_ptr`.
        num_columns: number of columns.
        C: columns of a program.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    inside = column < num_columns
    stored = tl.load(gate_ptr + row * gate_row + column, mask=inside, other=0.0)
    gate = stored.to(tl.float32)
    silu = (gate / (1.0 + tl.exp(-gate))).to(stored.dtype).to(tl.float32)
    up = tl.load(up_ptr + row * up_row + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * num_columns + column, (silu * up).to(stored.dtype), mask=inside)


@triton.jit
def write_rows(  # noqa: PLR0917
    k_ptr, v_ptr, slots_ptr, k_out_ptr, v_out_ptr,
    k_head, k_token, v_head, v_token, out_head,
    D: tl.constexpr, D_PADDED: tl.constexpr,
):  # fmt: skip
    """Copy the key and the value of a head of one token into the token's slot.

    Grid ``[num_tokens, num_heads]``.

    Args:
        k_ptr: ``[num_heads, num_tokens, D]``.
        v_ptr: ``[num_heads, num_tokens, D]``.
        slots_ptr: ``[num_tokens]``.
        k_out_ptr: ``[num_heads, num_slots, D]``, contiguous.
        v_out_ptr: ``[num_heads, num_slots, D]``, contiguous.
        k_head: stride of a head of `k_ptr`.
        k_token: stride of a token of `k_ptr`.
        v_head: stride of a head of `v_ptr`.
        v_token: stride of a token of `v_ptr`.
        out_head: stride of a head of `k_out_ptr` and `v_out_ptr`.
        D: head size.
        D_PADDED: the next power of two.
    """
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    place = tl.arange(0, D_PADDED)
    inside = place < D
    target = head * out_head + tl.load(slots_ptr + token) * D + place
    key = tl.load(k_ptr + head * k_head + token * k_token + place, mask=inside)
    tl.store(k_out_ptr + target, key, mask=inside)
    value = tl.load(v_ptr + head * v_head + token * v_token + place, mask=inside)
    tl.store(v_out_ptr + target, value, mask=inside)
