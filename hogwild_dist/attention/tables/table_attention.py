"""`TableBackend`: attention as tables say, for all blocks of all sessions at once."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hogwild_dist.attention.backend import ScoreRule
from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.rotations import StepRotations
from hogwild_dist.attention.tables.device_tables import BatchTables, DeviceTables
from hogwild_dist.attention.tables.kernel import LayerInput, LayerKind, TableKernel
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.cache import KVCache


class TableSource(Protocol):
    """Where a forward pass takes its tables from."""

    def get(self, kind: LayerKind) -> DeviceTables:
        """Return the tables for layers of a kind."""
        ...


@dataclass(frozen=True, slots=True)
class TableBackend:
    """Attends as tables say.

    Attributes:
        kernel: the kernel.
    """

    kernel: TableKernel

    def begin(self, cache: KVCache, batch: Batch) -> "TableAttention":
        """Return the attention of one forward pass."""
        device = cache.keys[0].device
        return TableAttention(cache, self.kernel, BatchTables(batch, self.kernel, device))


class TableAttention:
    """The attention of one forward pass.

    Args:
        cache: holds the blocks.
        kernel: the kernel.
        tables: the tables of the pass.
    """

    def __init__(self, cache: KVCache, kernel: TableKernel, tables: TableSource) -> None:
        self._cache = cache
        self._kernel = kernel
        self._tables = tables
        self._rotations = StepRotations(cache.rotary)

    def attend(
        self, layer: int, q: Tensor, rule: ScoreRule, peers: LayerExchange | None = None
    ) -> Tensor:
        """Attend from every row to its whole view; see `StepAttention.attend`."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        num_kv_heads = keys.shape[0]
        kind = LayerKind(rule.window, num_kv_heads, q.shape[0] // num_kv_heads, q.shape[-1])
        tables = self._tables.get(kind)
        wide = torch.promote_types(q.dtype, torch.float32)
        cos, sin = self._rotations.get(rule.window, tables.distances, layer, wide)
        call = self._kernel.begin(LayerInput(q, keys, values, cos, sin, rule, tables))
        call.attend(tables.local_tasks)
        if peers is not None:
            peers.receive_layer(layer)
            call.attend(tables.peer_tasks)
        return call.merged()
