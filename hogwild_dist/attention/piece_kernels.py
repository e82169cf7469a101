"""Attention kernels: queries against one run of keys, returning the log-sum-exp for merging."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

AttentionKernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], tuple[Tensor, Tensor]]
"""``(q [B, H, M, D], k [B, H, n, D], v [B, H, n, D], mask, scale)`` to
``(out [B, H, M, D], lse [B, H, M] in float32 or wider)``. The mask is None, or
``[B, 1, M or 1, n]`` and added to the scores; it is finite, so that a row that sees no key has
weight zero. `out` may be wider than the queries."""


SPLIT_KEYS = 1_024
"""Least number of keys in a part of a long block that is worth a thread of its own."""


def attend_cpu(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend with PyTorch's blocked CPU kernel, which also returns the log-sum-exp.

    That kernel divides its work among threads by heads, which are few. The keys of a long block are
    therefore cut into parts that act as a batch, so that every thread has as many heads of parts.
    """
    batch, num_heads, num_keys = k.shape[:3]
    threads = torch.get_num_threads()
    num_parts = min(threads // math.gcd(threads, num_heads), num_keys // SPLIT_KEYS)
    if num_parts < 2 or mask is not None or batch > 1:
        return _flash(q, k, v, mask, scale)
    size = num_keys // num_parts
    end = num_parts * size

    def parts(slab: Tensor) -> Tensor:
        return slab[0, :, :end].view(num_heads, num_parts, size, -1).transpose(0, 1)

    out, lse = _flash(q.expand(num_parts, -1, -1, -1), parts(k), parts(v), None, scale)
    if end < num_keys:
        out_rest, lse_rest = _flash(q, k[:, :, end:], v[:, :, end:], None, scale)
        out, lse = torch.cat((out, out_rest)), torch.cat((lse, lse_rest))
    top = lse.amax(0, keepdim=True)  # faster than `logsumexp` for so few numbers
    weight = (lse - top).exp_()
    total = weight.sum(0, keepdim=True)
    merged: Tensor = (out * (weight / total).unsqueeze(-1)).sum(0, keepdim=True)
    return merged.to(q.dtype), total.log_().add_(top)


def _flash(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Call PyTorch's private operator."""
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, False, attn_mask=mask, scale=scale
    )
    return out, lse


def attend_matmul(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend with two matrix products and a softmax; runs on any device with any dtype.

    Half precision is computed in float32 and returned so, since a score of 20 in bfloat16 is off by
    up to 0.06, and the parts are merged afterwards.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = torch.matmul(q.to(wide) * scale, k.to(wide).transpose(-1, -2))
    if mask is not None:
        scores += mask
    lse = scores.logsumexp(-1)
    return torch.matmul((scores - lse[..., None]).exp(), v.to(wide)), lse
