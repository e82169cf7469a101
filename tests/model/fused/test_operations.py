"""Each fused operation beside torch's own: on a GPU as it is, else under Triton's interpreter."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.model.fused.operations import rms_norm, rotate_both, silu_times
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
