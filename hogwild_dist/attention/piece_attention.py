"""Attention piece by piece: a kernel call for each run of keys that the same rows see.

The query is rotated to fit each block (`rope`; paper section 3.4), each block's K and V are read
once for all rows that see it, and the partial results merge by their log-sum-exp:

    out = sum_b exp(lse_b - lse) * out_b,   lse = log sum_b exp(lse_b)

Shape suffixes: H key-value heads, G query heads for each key-value head, E entries, N packed
tokens, P parts of a token, D head size, R concatenated results of the calls.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.attention.backend import ScoreRule
from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.kernel_calls import KernelCalls, kernel_calls
from hogwild_dist.attention.piece_kernels import AttentionKernel
from hogwild_dist.attention.plan import plan_attention
from hogwild_dist.attention.rotations import StepRotations
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rope import rotate


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The attention of a step for all layers with the same sliding window and shape.

    Attributes:
        tokens: ``[num_entries]`` packed query token of each entry.
        distances: ``[num_entries]`` rotation of each query, in tokens, to fit the block.
        kernel: the kernel calls.
    """

    tokens: Tensor
    distances: Tensor
    kernel: KernelCalls


@dataclass(frozen=True, slots=True)
class PieceBackend:
    """Attends with a kernel for single pieces.

    Attributes:
        kernel: attends from queries to one run of keys.
    """

    kernel: AttentionKernel

    def begin(self, cache: KVCache, batch: Batch) -> "PieceAttention":
        """Return the attention of one forward pass."""
        return PieceAttention(cache, batch, self.kernel)


class PieceAttention:
    """The attention of one forward pass, piece by piece.

    Args:
        cache: holds the blocks.
        batch: the packed tokens.
        kernel: attends from queries to one run of keys.
    """

    def __init__(self, cache: KVCache, batch: Batch, kernel: AttentionKernel) -> None:
        self._cache = cache
        self._batch = batch
        self._kernel = kernel
        self._device = cache.keys[0].device
        self._plans: dict[tuple[int | None, tuple[int, int, int]], LayerPlan] = {}
        self._rotations = StepRotations(cache.rotary)

    def attend(
        self, layer: int, q: Tensor, rule: ScoreRule, peers: LayerExchange | None = None
    ) -> Tensor:
        """Attend from every row to its whole view; see `StepAttention.attend`."""
        assert rule.cap is None, "kernels for single pieces have no soft cap"
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        num_kv_heads, num_groups = keys.shape[0], q.shape[0] // keys.shape[0]
        plan = self._plan(rule.window, (num_kv_heads, num_groups, q.shape[-1]), q.dtype)
        rotation = self._rotations.get(rule.window, plan.distances, layer, q.dtype)
        q_rotated = rotate(q.index_select(1, plan.tokens), *rotation)
        q_HGED = q_rotated.view(num_kv_heads, num_groups, -1, q.shape[-1])
        q_HEGD = q_HGED.transpose(1, 2).contiguous()
        results: list[tuple[Tensor, Tensor]] = [(q, q)] * len(plan.kernel.calls)

        def attend(from_peers: bool) -> None:
            for place, call in enumerate(plan.kernel.calls):
                if call.from_peers is from_peers:
                    queries, k, v = call.queries(q_HEGD), call.keys(keys), call.keys(values)
                    results[place] = self._kernel(queries, k, v, call.mask, rule.scale)

        attend(from_peers=False)
        if peers is not None:
            peers.receive_layer(layer)
            attend(from_peers=True)
        out_HRD, lse_HR = (
            torch.cat([part.transpose(0, 1).flatten(1, 2) for part in parts], 1)
            for parts in zip(*results, strict=True)
        )
        out_HEGD = out_HRD.view(num_kv_heads, -1, num_groups, values.shape[-1])
        lse_HEG = lse_HR.view(num_kv_heads, -1, num_groups)
        merged = _merge(out_HEGD, lse_HEG, plan.kernel)
        return merged.to(q.dtype).permute(1, 0, 2, 3).flatten(1, 2).contiguous()

    def _plan(
        self, window: int | None, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> LayerPlan:
        """Return the plan for layers with this sliding window and shape; see `kernel_calls`."""
        key = (window, shape)
        if key not in self._plans:
            plan = plan_attention(self._batch, window, self._device)
            self._plans[key] = LayerPlan(
                tokens=torch.tensor(plan.tokens, device=self._device),
                distances=torch.tensor(plan.distances, device=self._device),
                kernel=kernel_calls(plan, shape, dtype, self._device),
            )
        return self._plans[key]


def _merge(out_HEGD: Tensor, lse_HEG: Tensor, kernel: KernelCalls) -> Tensor:
    """Merge each token's partial results by their log-sum-exp into ``[H, N, G, D]``."""
    num_kv_heads, _, num_groups, head_dim = out_HEGD.shape
    num_tokens, num_parts = kernel.parts.shape
    flat = kernel.parts.flatten()
    shape = (num_kv_heads, num_tokens, num_parts, num_groups)
    out_HNPGD = out_HEGD.index_select(1, flat).view(*shape, head_dim)
    if num_parts == 1:
        return out_HNPGD[:, :, 0]
    lse_HNPG = lse_HEG.index_select(1, flat).view(shape)
    if kernel.no_part is not None:
        lse_HNPG = lse_HNPG.masked_fill(kernel.no_part[None, :, :, None], -torch.inf)
    weight = lse_HNPG.softmax(2).unsqueeze(-1)
    merged: Tensor = (out_HNPGD * weight).sum(2)
    return merged
