"""Each fused operation beside torch's own: on a GPU as it is, else under Triton's interpreter."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.kvcache.slot_writer import write_by_index
from hogwild_dist.model.fused.operations import rms_norm, rotate_both, silu_times, write_both
from tests.attention.random_team import DEVICE

DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * torch.cuda.is_available()
LIMITS = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Largest difference allowed for numbers of about 1."""


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def close(found: Tensor, right: Tensor) -> bool:
    assert found.shape == right.shape
    assert found.dtype == right.dtype
    return bool(torch.allclose(found, right, rtol=LIMITS[right.dtype], atol=LIMITS[right.dtype]))


@settings(max_examples=20)
@given(
    tokens=st.integers(1, 5),
    heads=st.integers(1, 4),
    size=st.sampled_from([1, 7, 64, 96, 130]),
    dtype=st.sampled_from(DTYPES),
)
def test_rows_of_any_size_and_stride_are_normalised(
    tokens: int, heads: int, size: int, dtype: torch.dtype
) -> None:
    """Heads lie as in a product of queries, keys and values: with others between tokens."""
    wide = random(1, tokens, heads * size + 13, dtype=dtype)
    x = wide[..., : heads * size].view(1, tokens, heads, size)
    weight = random(size, dtype=dtype)
    right = functional.rms_norm(x.float(), (size,), None, 1e-5).to(dtype) * weight
    assert close(rms_norm(x, weight, 1e-5), right)
    flat = x.reshape(tokens, heads, size)
    assert close(rms_norm(flat, weight, 1e-5), right[0])


@settings(max_examples=20)
@given(
    tokens=st.integers(1, 5),
    num_q=st.integers(1, 6),
    num_k=st.integers(1, 3),
    size=st.sampled_from([2, 16, 80]),
    part=st.sampled_from([1, 2]),
    dtype=st.sampled_from(DTYPES),
)
def test_queries_and_keys_are_rotated_by_their_positions(
    tokens: int, num_q: int, num_k: int, size: int, part: int, dtype: torch.dtype
) -> None:
    """Beside complex numbers: a pair of halves turns by an angle."""
    rotary = size if part == 1 or size == 2 else size // 2
    angle = random(1, tokens, rotary // 2) * 3
    cos, sin = (turn.repeat(1, 1, 2).to(dtype) for turn in (angle.cos(), angle.sin()))
    wide = random(1, tokens, num_q * size + num_k * size, dtype=dtype)
    q = wide[..., : num_q * size].view(1, tokens, num_q, size).transpose(1, 2)
    k = wide[..., num_q * size :].view(1, tokens, num_k, size).transpose(1, 2)
    turn = torch.complex(cos, sin)[:, None, :, : rotary // 2] if dtype == torch.float32 else None
    for x, found in zip((q, k), rotate_both(q, k, cos, sin), strict=True):
        wide_turn = (
            turn if turn is not None else torch.polar(torch.ones_like(angle), angle)[:, None]
        )
        first, second = x[..., :rotary].float().chunk(2, -1)
        right = torch.complex(first, second) * wide_turn
        expected = torch.cat((right.real, right.imag, x[..., rotary:].float()), -1).to(dtype)
        assert close(found, expected)


@settings(max_examples=20)
@given(
    tokens=st.integers(0, 5),
    columns=st.sampled_from([1, 100, 1_024, 1_500]),
    dtype=st.sampled_from(DTYPES),
)
def test_gates_multiply(tokens: int, columns: int, dtype: torch.dtype) -> None:
    gate, up = random(1, tokens, 2 * columns + 3, dtype=dtype).split((columns, columns + 3), -1)
    up = up[..., :columns]
    right = functional.silu(gate.float()).to(dtype) * up
    assert close(silu_times(gate, up), right)
    assert close(silu_times(gate[0], up[0]), right[0])


@settings(max_examples=30)
@given(
    slots=st.lists(st.integers(0, 9), max_size=6, unique=True),
    dummies=st.integers(0, 3),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 64, 80]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
    split=st.booleans(),
)
def test_keys_and_values_are_written_bit_for_bit(
    slots: list[int], dummies: int, heads: int, size: int, dtype: torch.dtype, split: bool
) -> None:
    """Dummies share a slot, in which anything may stand then."""
    scratch = 10
    into = torch.tensor([*slots, *[scratch] * dummies], dtype=torch.int64, device=DEVICE)
    wide = random(len(into), 2 * heads * size + 5, dtype=dtype)[:, : 2 * heads * size]
    last = (heads, size) if split else (size, heads)
    k, v = (half.reshape(len(into), *last) for half in wide.chunk(2, -1))
    order = (1, 0, 2) if split else (2, 0, 1)
    k, v = k.permute(order), v.permute(order)
    slabs = random(2, heads, scratch + 2, size, dtype=dtype)
    right, found = slabs.clone(), slabs.clone()
    write_by_index(*right, into, k, v)
    write_both(*found, into, k, v)
    kept = [slot for slot in range(scratch + 2) if slot != scratch]
    assert torch.equal(found[:, :, kept], right[:, :, kept])
