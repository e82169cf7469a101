"""A trial of the kernels on the device itself: what a driver or compiler spoils is not used."""

import torch

from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.piece_attention import PieceAttention
from hogwild_dist.attention.piece_kernels import attend_matmul
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.attention.triton.launches import TritonKernel
from hogwild_dist.config import Visibility
from hogwild_dist.errors import first_line
from hogwild_dist.kvcache.cache import KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.kvcache.rows import Row, allocate_slots

LIMITS = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference from `matmul` that is rounding, where outputs are about 1."""

LENGTHS = (150, 20, 70)
"""Lengths of a shared block and of two workers' blocks: more than a tile, and less."""


@torch.inference_mode()
def trial_fault(needs: AttentionNeeds) -> str | None:
    """Return what is wrong with the kernels on this device, as a part of a sentence, or None.

    Args:
        needs: what the model asks of them.
    """
    torch_state = torch.get_rng_state()
    try:
        return _difference(needs)
    except Exception as error:  # a compiler or driver may raise anything
        return f"does not run here ({first_line(error).rstrip('.')})"
    finally:
        torch.set_rng_state(torch_state)


def _difference(needs: AttentionNeeds) -> str | None:
    """Compare two workers' step with piecewise attention."""
    cache, batch = _team(needs)
    shape = (2 * needs.num_groups, batch.num_tokens, needs.head_dim)
    q = torch.randn(shape).to(needs.device, needs.dtype)
    rule = ScoreRule(needs.head_dim**-0.5)
    found = TableBackend(TritonKernel(4)).begin(cache, batch).attend(0, q, rule)
    right = PieceAttention(cache, batch, attend_matmul).attend(0, q, rule)
    difference = float((found.float() - right.float()).abs().max())
    if difference < LIMITS[needs.dtype]:
        return None
    return f"computes other results than matmul here (difference {difference:.1e})"


def _team(needs: AttentionNeeds) -> tuple[KVCache, Batch]:
    """Return a cache of random keys and values, and a step of two workers."""
    frequencies = 0.9 ** torch.arange(needs.head_dim // 2, dtype=torch.float64, device=needs.device)
    cache = KVCache(
        layers=(LayerShape(num_kv_heads=2, head_dim=needs.head_dim),),
        num_tokens=sum(LENGTHS) + 64 * len(LENGTHS),
        rotary=RotaryTables(inv_freq=(frequencies,), table_of_layer=(0,)),
        dtype=needs.dtype,
        device=needs.device,
    )
    for slab in (*cache.keys, *cache.values):
        slab.copy_(torch.randn(slab.shape))
    common, one, two = (cache.new_block(str(length)) for length in LENGTHS)
    for block, length in zip((common, one, two), LENGTHS, strict=True):
        cache.extend(block, range(length))
        cache.commit(block, length)
    rows = [Row((common, two, one), (1,)), Row((common, one, two), (1, 1))]
    return cache, build_batch(rows, allocate_slots(cache, rows), Visibility.SAME_STEP)
