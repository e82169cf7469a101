"""Teams over random blocks, and random queries, for one layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.attention.backend import ScoreRule
from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.piece_attention import PieceAttention
from hogwild_dist.attention.piece_kernels import attend_matmul
from hogwild_dist.attention.tables.kernel import TableKernel
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.kvcache.rows import Row, allocate_slots

SCALE = 0.3
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LIMITS = {
    torch.float64: 1e-12,
    torch.float32: 2e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
"""Largest difference allowed, where outputs are about 1."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of a layer."""

    num_kv_heads: int = 2
    num_groups: int = 2
    head_dim: int = 32
    rotary_dim: int | None = None

    def new_cache(self, dtype: torch.dtype) -> KVCache:
        half = (self.rotary_dim or self.head_dim) // 2
        frequencies = 0.5 ** torch.arange(half, dtype=torch.float64, device=DEVICE)
        return KVCache(
            layers=(LayerShape(num_kv_heads=self.num_kv_heads, head_dim=self.head_dim),),
            num_tokens=4_096,
            rotary=RotaryTables(inv_freq=(frequencies,), table_of_layer=(0,)),
            dtype=dtype,
            device=DEVICE,
        )


def fill(cache: KVCache, slots: Sequence[int], seed: int) -> None:
    """Write random keys and values."""
    generator = torch.Generator().manual_seed(seed)
    shape = (cache.keys[0].shape[0], len(slots), cache.keys[0].shape[2])
    keys, values = (torch.randn(shape, generator=generator) for _ in range(2))
    slab = cache.keys[0]
    cache.write(0, torch.tensor(slots, device=DEVICE), keys.to(slab), values.to(slab))


def team(
    cache: KVCache, old: Sequence[int], new: Sequence[int], visibility: Visibility
) -> tuple[list[Row], Batch]:
    """Workers who see a common block, each other's blocks and their own, as one batch."""
    blocks = [cache.new_block(str(index)) for index in range(len(old))]
    for index, (block, count) in enumerate(zip(blocks, old, strict=True)):
        if count:
            fill(cache, cache.extend(block, range(count)), index)
            cache.commit(block, count)
    common, *own = blocks
    rows = [
        Row((common, *(other for other in own if other is not block), block), (5,) * count)
        for block, count in zip(own, new, strict=True)
    ]
    slots = allocate_slots(cache, rows)
    fill(cache, [slot for row in slots for slot in row], 99)
    return rows, build_batch(rows, slots, visibility)


def queries(shape: Shape, num_tokens: int, dtype: torch.dtype) -> Tensor:
    """Random queries, laid out as transformers does: tokens outside, heads inside."""
    generator = torch.Generator().manual_seed(7)
    num_heads = shape.num_kv_heads * shape.num_groups
    q = torch.randn((num_tokens, num_heads, shape.head_dim), generator=generator)
    return q.to(DEVICE, dtype).transpose(0, 1)


def compare(cache: KVCache, batch: Batch, q: Tensor, rule: ScoreRule, kernel: TableKernel) -> None:
    right = PieceAttention(cache, batch, attend_matmul).attend(0, q, rule)
    found = TableBackend(kernel).begin(cache, batch).attend(0, q, rule)
    assert found.shape == right.shape
    assert found.dtype == q.dtype
    assert (found.double() - right.double()).abs().max() < LIMITS[q.dtype]
