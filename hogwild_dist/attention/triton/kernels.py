"""The two Triton kernels: partial attention of tasks, and the merge of each token's parts.

Base-2 exponentials and logarithms are used throughout, as GPUs compute those. Kernels have no
typed signatures that a type checker could follow.
"""
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl

from hogwild_dist.attention.tables.step_tables import TASK_FIELDS

_TASK_FIELDS: tl.constexpr = tl.constexpr(TASK_FIELDS)


@triton.jit
def _rotated(  # noqa: PLR0917
    q_rows, cos_ptr, sin_ptr, entry, live, dim, D: tl.constexpr, ROTARY: tl.constexpr
):
    """Return the queries of a tile, rotated to fit the block, ``[M, D_PADDED]`` float32."""
    loaded = live[:, None] & (dim < D)[None, :]
    half: tl.constexpr = ROTARY // 2
    mate = tl.where(dim < half, dim + half, tl.where(dim < ROTARY, dim - half, dim))
    q = tl.load(q_rows[:, None] + dim[None, :], mask=loaded, other=0.0).to(tl.float32)
    q_mate = tl.load(q_rows[:, None] + mate[None, :], mask=loaded, other=0.0).to(tl.float32)
    turning = live[:, None] & (dim < ROTARY)[None, :]
    angle = entry[:, None] * ROTARY + dim[None, :]
    cos = tl.load(cos_ptr + angle, mask=turning, other=1.0)
    sin = tl.load(sin_ptr + angle, mask=turning, other=0.0)
    return q * cos + q_mate * sin


@triton.jit
def _capped(scores, cap):
    """Return ``cap * tanh(scores / cap)``; both are to base 2, so that their ratio is not."""
    fraction = tl.exp2(-2.0 * tl.abs(scores / cap) * 1.4426950408889634)
    return tl.where(scores < 0, -cap, cap) * (1.0 - fraction) / (1.0 + fraction)


@triton.jit
def attend_tasks(  # noqa: PLR0915, PLR0917  # one launch
    q_ptr, k_ptr, v_ptr, cos_ptr, sin_ptr,
    tokens_ptr, lows_ptr, highs_ptr, tasks_ptr, out_ptr, lse_ptr,
    q_head, q_token, kv_head, kv_slot, num_heads, scale, cap,
    G: tl.constexpr, D: tl.constexpr, D_PADDED: tl.constexpr, ROTARY: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, CAPPED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from a task's queries to its keys, for one key-value head.

    Grid ``[num_tasks, num_kv_heads]``. A task without keys ends at once.

    Args:
        q_ptr: ``[H * G, num_tokens, D]`` queries, rotated at block-local positions.
        k_ptr: ``[H, num_slots, D]`` keys.
        v_ptr: ``[H, num_slots, D]`` values, with the strides of the keys.
        cos_ptr: ``[num_entries, ROTARY]`` float32.
        sin_ptr: ``[num_entries, ROTARY]`` float32, the first half negated.
        tokens_ptr: ``[num_entries]`` int32; see `StepTables`, also for the next three.
        lows_ptr: ``[num_entries]`` int32.
        highs_ptr: ``[num_entries]`` int32.
        tasks_ptr: ``[num_tasks, TASK_FIELDS]`` int32.
        out_ptr: ``[num_results, H * G, D]`` float32 partial outputs.
        lse_ptr: ``[num_results, H * G]`` float32 log-sum-exp to base 2.
        q_head: stride of a query head.
        q_token: stride of a query token.
        kv_head: stride of a key-value head.
        kv_slot: stride of a slot.
        num_heads: number of query heads.
        scale: factor of the scores, times log2(e).
        cap: soft cap of the scores, times log2(e).
        G: query heads for each key-value head.
        D: head size.
        D_PADDED: the next power of two.
        ROTARY: size of the head's rotary part.
        M: rows of a tile; a power of two, at least the entries of a task times G.
        N: keys of a tile; a power of two.
        CAPPED: whether the scores are capped.
        PRECISION: precision of products of float32.
    """
    head = tl.program_id(1)
    task = tasks_ptr + tl.program_id(0) * _TASK_FIELDS
    num_keys = tl.load(task + 2)
    if num_keys == 0:
        return
    slot = tl.load(task)
    position = tl.load(task + 1)
    first_entry = tl.load(task + 3)
    num_entries = tl.load(task + 4)
    first_result = tl.load(task + 5)

    row = tl.arange(0, M)
    entry_in_task = row // G
    q_heads = head * G + row % G
    live = entry_in_task < num_entries
    entry = first_entry + entry_in_task
    dim = tl.arange(0, D_PADDED)
    live_2d = live[:, None] & (dim < D)[None, :]

    token = tl.load(tokens_ptr + entry, mask=live, other=0)
    low = tl.load(lows_ptr + entry, mask=live, other=0)
    high = tl.load(highs_ptr + entry, mask=live, other=0)
    q_rows = q_ptr + q_heads.to(tl.int64) * q_head + token.to(tl.int64) * q_token
    q = _rotated(q_rows, cos_ptr, sin_ptr, entry, live, dim, D, ROTARY).to(k_ptr.dtype.element_ty)

    acc = tl.zeros([M, D_PADDED], tl.float32)
    most = tl.full([M], -float("inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    key = tl.arange(0, N)
    kv = head.to(tl.int64) * kv_head + slot.to(tl.int64) * kv_slot
    for begin in range(0, num_keys, N):
        index = begin + key
        offsets = kv + index[:, None].to(tl.int64) * kv_slot + dim[None, :]
        loaded = (index < num_keys)[:, None] & (dim < D)[None, :]
        k = tl.load(k_ptr + offsets, mask=loaded, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        if CAPPED:
            scores = _capped(scores, cap)
        at = position + index
        seen = (index < num_keys)[None, :] & (at[None, :] >= low[:, None])
        seen &= at[None, :] < high[:, None]
        scores = tl.where(seen, scores, -float("inf"))
        new_most = tl.maximum(most, tl.max(scores, 1))
        finite = tl.where(new_most == -float("inf"), 0.0, new_most)
        weights = tl.exp2(scores - finite[:, None])
        shrink = tl.exp2(most - finite)
        total = total * shrink + tl.sum(weights, 1)
        v = tl.load(v_ptr + offsets, mask=loaded, other=0.0)
        acc = acc * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        most = new_most

    nothing = total == 0.0
    out = acc / tl.where(nothing, 1.0, total)[:, None]
    lse = tl.where(nothing, -float("inf"), most + tl.log2(tl.where(nothing, 1.0, total)))
    result = (first_result + entry_in_task).to(tl.int64) * num_heads + q_heads
    tl.store(out_ptr + result[:, None] * D + dim[None, :], out, mask=live_2d)
    tl.store(lse_ptr + result, lse, mask=live)


@triton.jit
def merge_parts(  # noqa: PLR0917
    parts_out_ptr, parts_lse_ptr, parts_ptr, part_starts_ptr, out_ptr, num_heads,
    D: tl.constexpr, D_PADDED: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Merge a token's partial results by their log-sum-exp, for one query head.

    Grid ``[num_tokens, H * G]``.

    Args:
        parts_out_ptr: ``[num_results, H * G, D]`` float32.
        parts_lse_ptr: ``[num_results, H * G]`` float32, to base 2.
        parts_ptr: results of each token, token by token; see `StepTables`.
        part_starts_ptr: ``[num_tokens + 1]`` int32.
        out_ptr: ``[num_tokens, H * G, D]``.
        num_heads: number of query heads.
        D: head size.
        D_PADDED: the next power of two.
        P: parts that are merged at a time; a power of two.
    """
    token = tl.program_id(0)
    head = tl.program_id(1)
    first = tl.load(part_starts_ptr + token)
    last = tl.load(part_starts_ptr + token + 1)
    dim = tl.arange(0, D_PADDED)
    some = tl.arange(0, P)
    most = tl.full([1], -float("inf"), tl.float32)
    total = tl.zeros([1], tl.float32)
    acc = tl.zeros([D_PADDED], tl.float32)
    for begin in range(first, last, P):
        place = begin + some
        known = place < last
        part = tl.load(parts_ptr + place, mask=known, other=0).to(tl.int64) * num_heads + head
        lse = tl.load(parts_lse_ptr + part, mask=known, other=-float("inf"))
        new_most = tl.maximum(most, tl.max(lse, 0))
        finite = tl.where(new_most == -float("inf"), 0.0, new_most)
        weights = tl.exp2(lse - finite)
        shrink = tl.exp2(most - finite)
        loaded = known[:, None] & (dim < D)[None, :]
        out = tl.load(parts_out_ptr + part[:, None] * D + dim[None, :], mask=loaded, other=0.0)
        acc = acc * shrink + tl.sum(out * weights[:, None], 0)
        total = total * shrink + tl.sum(weights, 0)
        most = new_most
    merged = acc / tl.where(total == 0.0, 1.0, total)
    place = (token.to(tl.int64) * num_heads + head) * D + dim
    tl.store(out_ptr + place, merged.to(out_ptr.dtype.element_ty), mask=dim < D)
