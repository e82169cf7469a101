"""Attention driven by tables beside piecewise attention: plain PyTorch in float64, and Triton."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hogwild_dist.attention import registry
from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.batch import build_batch
from hogwild_dist.attention.piece_attention import PieceAttention
from hogwild_dist.attention.piece_kernels import attend_matmul
from hogwild_dist.attention.tables.kernel import TableKernel
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots
from tests.attention.random_team import DEVICE, LIMITS, SCALE, Shape, compare, fill, queries, team

DTYPES = (torch.float64, torch.float32)


def kernels() -> list[tuple[TableKernel, torch.dtype]]:
    """The package's kernels that are driven by tables, each in the widest dtype that it has."""
    found = []
    for one in registry.KERNELS.values():
        asked = (AttentionNeeds(device=DEVICE, dtype=dtype) for dtype in DTYPES)
        needs = next((needs for needs in asked if one.fault(needs) is None), None)
        backend = None if needs is None else one.make(needs)
        if isinstance(backend, TableBackend):
            found.append((backend.kernel, needs.dtype))
    if find_spec("triton"):
        from hogwild_dist.attention.triton.launches import TritonKernel  # noqa: PLC0415

        found.append((TritonKernel(20), torch.float32))  # more tasks than on a CPU
    return found


KERNELS = kernels()


@settings(max_examples=15)  # the interpreter is slow
@given(
    old=st.lists(st.integers(0, 150), min_size=3, max_size=5),
    new=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    window=st.sampled_from([None, 3, 40]),
    visibility=st.sampled_from(Visibility),
    kernel=st.sampled_from(KERNELS),
)
def test_a_team_attends_as_piece_by_piece(
    old: list[int],
    new: list[int],
    window: int | None,
    visibility: Visibility,
    kernel: tuple[TableKernel, torch.dtype],
) -> None:
    shape = Shape()
    cache = shape.new_cache(kernel[1])
    _, batch = team(cache, old, new[: len(old) - 1], visibility)
    q = queries(shape, batch.num_tokens, kernel[1])
    compare(cache, batch, q, ScoreRule(SCALE, window), kernel[0])


@pytest.mark.parametrize(("kernel", "dtype"), KERNELS)
def test_capped_scores(kernel: TableKernel, dtype: torch.dtype) -> None:
    """Beside the definition: one row, one block."""
    shape = Shape(num_kv_heads=1, num_groups=2)
    cache = shape.new_cache(dtype)
    (row,), batch = team(cache, (0, 60), (1,), Visibility.SAME_STEP)
    q = queries(shape, 1, dtype) * 20
    found = TableBackend(kernel).begin(cache, batch).attend(0, q, ScoreRule(SCALE, None, 5.0))
    ((start, stop),) = row.view[-1].spans(0, 61)
    k, v = cache.keys[0][0, start:stop], cache.values[0][0, start:stop]
    scores = 5.0 * torch.tanh(q[:, 0] @ k.T * SCALE / 5.0)
    assert scores.abs().max() > 4.9, "the cap matters"
    assert torch.allclose(found[0], scores.softmax(-1) @ v, atol=1e-5)


class Peers:
    """An exchange that brings a peer's keys and values late."""

    def __init__(self, cache: KVCache, slots: Sequence[int]) -> None:
        self.cache, self.slots = cache, slots

    def receive_layer(self, layer: int) -> None:
        fill(self.cache, self.slots, 50)


@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize(("kernel", "dtype"), KERNELS)
def test_keys_that_arrive_during_the_step_are_read_after_they_arrived(
    kernel: TableKernel, dtype: torch.dtype, window: int | None
) -> None:
    shape = Shape()
    cache = shape.new_cache(dtype)
    blocks: list[Block] = []
    for index, count in enumerate((80, 20, 30)):
        blocks.append(cache.new_block(str(index)))
        fill(cache, cache.extend(blocks[-1], range(count)), index)
        cache.commit(blocks[-1], count)
    common, peer, own = blocks
    rows = [Row((common, peer, own), (5, 5)), Row((common, own, peer), (5, 5, 5))]
    slots = allocate_slots(cache, rows)
    fill(cache, slots[0], 98)
    peers = Peers(cache, slots[1])
    batch = build_batch(rows[:1], slots[:1], Visibility.SAME_STEP, rows[1:])
    q, rule = queries(shape, 2, dtype), ScoreRule(SCALE, window)
    found = TableBackend(kernel).begin(cache, batch).attend(0, q, rule, peers)
    right = PieceAttention(cache, replace(batch, arriving={}), attend_matmul).attend(0, q, rule)
    assert torch.allclose(found, right, atol=LIMITS[dtype])
