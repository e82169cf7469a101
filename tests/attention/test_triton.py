"""The Triton kernels beside piecewise attention: on a GPU as they are, else interpreted.

The interpreter multiplies bfloat16 wrongly, so that dtype is tested on a GPU alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.piece_attention import PieceAttention
from hogwild_dist.attention.piece_kernels import attend_matmul
from hogwild_dist.attention.registry import find_backend
from hogwild_dist.attention.triton.backend import TritonAttention
from hogwild_dist.attention.triton.trial import trial_fault
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError
from hogwild_dist.kvcache.cache import Block, KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.kvcache.rows import Row, allocate_slots

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * torch.cuda.is_available()
LIMITS = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Largest difference allowed, where outputs are about 1."""

SCALE = 0.3


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


def compare(
    cache: KVCache, batch: Batch, q: Tensor, rule: ScoreRule, num_multiprocessors: int
) -> None:
    wide = PieceAttention(cache, batch, attend_matmul)
    right = wide.attend(0, q, rule)
    found = TritonAttention(cache, batch, num_multiprocessors).attend(0, q, rule)
    assert found.shape == right.shape
    assert found.dtype == q.dtype
    assert (found.float() - right.float()).abs().max() < LIMITS[q.dtype]


@settings(max_examples=15)  # the interpreter is slow
@given(
    old=st.lists(st.integers(0, 150), min_size=3, max_size=5),
    new=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    window=st.sampled_from([None, 3, 40]),
    visibility=st.sampled_from(Visibility),
    num_multiprocessors=st.sampled_from([1, 20]),
)
def test_a_team_attends_as_piece_by_piece(
    old: list[int],
    new: list[int],
    window: int | None,
    visibility: Visibility,
    num_multiprocessors: int,
) -> None:
    shape = Shape()
    cache = shape.new_cache(torch.float32)
    _, batch = team(cache, old, new[: len(old) - 1], visibility)
    q = queries(shape, batch.num_tokens, torch.float32)
    compare(cache, batch, q, ScoreRule(SCALE, window), num_multiprocessors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        Shape(head_dim=64, num_groups=1),
        Shape(head_dim=80, num_groups=4),
        Shape(head_dim=96, rotary_dim=48),
        Shape(head_dim=128, num_groups=8, num_kv_heads=1),
        Shape(head_dim=128, num_groups=7, rotary_dim=32),
        Shape(head_dim=256, num_groups=16, num_kv_heads=1),
    ],
    ids=str,
)
def test_shapes_and_dtypes(shape: Shape, dtype: torch.dtype) -> None:
    cache = shape.new_cache(dtype)
    _, batch = team(cache, (100, 3, 70), (2, 1), Visibility.SAME_STEP)
    compare(cache, batch, queries(shape, batch.num_tokens, dtype), ScoreRule(SCALE), 4)


def test_a_long_text_is_encoded_in_several_tasks() -> None:
    shape = Shape()
    cache = shape.new_cache(torch.float32)
    _, batch = team(cache, (90, 5), (70,), Visibility.SAME_STEP)
    compare(cache, batch, queries(shape, 70, torch.float32), ScoreRule(SCALE, 50), 4)


def test_capped_scores() -> None:
    """Beside the definition: one row, one block."""
    shape = Shape(num_kv_heads=1, num_groups=2)
    cache = shape.new_cache(torch.float32)
    (row,), batch = team(cache, (0, 60), (1,), Visibility.SAME_STEP)
    q = queries(shape, 1, torch.float32) * 20
    found = TritonAttention(cache, batch, 1).attend(0, q, ScoreRule(SCALE, None, 5.0))
    ((start, stop),) = row.view[-1].spans(0, 61)
    k, v = cache.keys[0][0, start:stop], cache.values[0][0, start:stop]
    scores = 5.0 * torch.tanh(q[:, 0] @ k.T * SCALE / 5.0)
    assert scores.abs().max() > 4.9, "the cap matters"
    assert torch.allclose(found[0], scores.softmax(-1) @ v, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 7])
def test_a_trial_passes_where_the_kernels_are_right(groups: int) -> None:
    needs = AttentionNeeds(device=DEVICE, dtype=torch.float32, head_dim=80, num_groups=groups)
    assert trial_fault(needs) is None


def test_kernels_that_fail_or_compute_something_else_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = AttentionNeeds(device=DEVICE, dtype=torch.float32, head_dim=48, num_groups=3)
    right = TritonAttention.attend
    monkeypatch.setattr(TritonAttention, "attend", lambda *args: right(*args) * 1.1)
    assert re.match(r"computes other results than matmul here \(diff", trial_fault(needs))
    monkeypatch.setattr(TritonAttention, "attend", lambda *args: 1 / 0)
    assert trial_fault(needs) == "does not run here (division by zero)"
    with pytest.raises(ConfigError, match=r"'triton' does not run here .*; use .*matmul"):
        find_backend("triton", needs)


class Peers:
    """An exchange that brings a peer's keys and values late."""

    def __init__(self, cache: KVCache, slots: Sequence[int]) -> None:
        self.cache, self.slots = cache, slots

    def receive_layer(self, layer: int) -> None:
        fill(self.cache, self.slots, 50)


@pytest.mark.parametrize("window", [None, 30])
def test_keys_that_arrive_during_the_step_are_read_after_they_arrived(window: int | None) -> None:
    shape = Shape()
    cache = shape.new_cache(torch.float32)
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
    q, rule = queries(shape, 2, torch.float32), ScoreRule(SCALE, window)
    found = TritonAttention(cache, batch, 4).attend(0, q, rule, peers)
    right = PieceAttention(cache, replace(batch, arriving={}), attend_matmul).attend(0, q, rule)
    assert torch.allclose(found, right, atol=2e-5)
