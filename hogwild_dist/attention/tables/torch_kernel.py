"""`TorchKernel`: what the tables mean, task by task in plain PyTorch, on any device in any dtype.

It is slow. It states what other kernels must compute, and lets what runs on a GPU be tested without
one, in float64 too.
"""

import torch
from torch import Tensor

from hogwild_dist.attention.tables.kernel import LayerInput, LayerKind
from hogwild_dist.kvcache.rope import rotate

MAX_ENTRIES = 16
"""Most entries of a task."""

WANTED_TASKS = 8
"""Number of tasks of a step, so that long blocks are cut."""


class TorchKernel:
    """Attends task by task."""

    capturable = False

    def max_entries(self, _kind: LayerKind) -> int:
        """Return the most entries of a task."""
        return MAX_ENTRIES

    def wanted_tasks(self, _kind: LayerKind) -> int:
        """Return the wanted number of tasks."""
        return WANTED_TASKS

    def begin(self, layer: LayerInput) -> "TorchCall":
        """Begin the attention of one layer."""
        return TorchCall(layer)


class TorchCall:
    """The attention of one layer.

    Args:
        layer: what it attends with.
    """

    def __init__(self, layer: LayerInput) -> None:
        num_heads, _, head_dim = layer.q.shape
        wide, device = layer.cos.dtype, layer.q.device
        num_results = layer.tables.num_results
        self._layer = layer
        self._out = torch.zeros((num_heads, num_results, head_dim), dtype=wide, device=device)
        self._lse = torch.full((num_heads, num_results), -torch.inf, dtype=wide, device=device)

    def attend(self, tasks: Tensor) -> None:
        """Compute the partial results of some tasks."""
        for slot, position, num_keys, first, num_entries, result in tasks.tolist():
            if not num_keys:
                continue
            entries = slice(first, first + num_entries)
            results = slice(result, result + num_entries)
            scores = self._scores(slot, position, num_keys, entries)
            lse = scores.logsumexp(-1)
            shift = lse.masked_fill(lse == -torch.inf, 0.0)[..., None]
            values = self._grouped(self._layer.values[:, slot : slot + num_keys])
            self._out[:, results] = torch.matmul((scores - shift).exp(), values)
            self._lse[:, results] = lse

    def merged(self) -> Tensor:
        """Return each token's merged partial results, ``[N, H * G, D]``."""
        tables, q = self._layer.tables, self._layer.q
        starts, parts = tables.part_starts.tolist(), tables.parts.long()
        merged = torch.zeros_like(q)
        for token in range(q.shape[1]):
            own = parts[starts[token] : starts[token + 1]]
            if len(own):
                weights = self._lse[:, own].softmax(-1)[..., None]
                merged[:, token] = (self._out[:, own] * weights).sum(1).to(q.dtype)
        return merged.transpose(0, 1).contiguous()

    def _scores(self, slot: int, position: int, num_keys: int, entries: slice) -> Tensor:
        """Return the scores of some entries, ``[H * G, num_entries, num_keys]``."""
        layer, tables = self._layer, self._layer.tables
        q = layer.q.index_select(1, tables.tokens[entries].long())
        q_rotated = rotate(q, layer.cos[entries], layer.sin[entries]).to(self._out.dtype)
        keys = self._grouped(layer.keys[:, slot : slot + num_keys])
        scores = torch.matmul(q_rotated, keys.transpose(1, 2)) * layer.rule.scale
        cap = layer.rule.cap
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        at = position + torch.arange(num_keys, device=scores.device)
        seen = (at >= tables.lows[entries, None]) & (at < tables.highs[entries, None])
        return scores.masked_fill(~seen, -torch.inf)

    def _grouped(self, slab: Tensor) -> Tensor:
        """Return keys or values for each query head, ``[H * G, num_keys, D]``."""
        return slab.to(self._out.dtype).repeat_interleave(self._layer.num_groups, 0)
