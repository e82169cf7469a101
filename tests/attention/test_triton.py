"""The Triton kernels beside piecewise attention: on a GPU as they are, else interpreted.

The interpreter multiplies bfloat16 wrongly, so that dtype is tested on a GPU alone.
"""

import re

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.registry import find_backend
from hogwild_dist.attention.triton.launches import TritonCall, TritonKernel
from hogwild_dist.attention.triton.trial import trial_fault
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError
from tests.attention.random_team import DEVICE, SCALE, Shape, compare, queries, team

DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * torch.cuda.is_available()


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
    compare(
        cache, batch, queries(shape, batch.num_tokens, dtype), ScoreRule(SCALE), TritonKernel(4)
    )


def test_a_long_text_is_encoded_in_several_tasks() -> None:
    shape = Shape()
    cache = shape.new_cache(torch.float32)
    _, batch = team(cache, (90, 5), (70,), Visibility.SAME_STEP)
    compare(cache, batch, queries(shape, 70, torch.float32), ScoreRule(SCALE, 50), TritonKernel(4))


@pytest.mark.parametrize("groups", [1, 7])
def test_a_trial_passes_where_the_kernels_are_right(groups: int) -> None:
    needs = AttentionNeeds(device=DEVICE, dtype=torch.float32, head_dim=80, num_groups=groups)
    assert trial_fault(needs) is None


def test_kernels_that_fail_or_compute_something_else_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = AttentionNeeds(device=DEVICE, dtype=torch.float32, head_dim=48, num_groups=3)
    right = TritonCall.merged
    monkeypatch.setattr(TritonCall, "merged", lambda *args: right(*args) * 1.1)
    assert re.match(r"computes other results than matmul here \(diff", trial_fault(needs))
    monkeypatch.setattr(TritonCall, "merged", lambda *args: 1 / 0)
    assert trial_fault(needs) == "does not run here (division by zero)"
    with pytest.raises(ConfigError, match=r"'triton' does not run here .*; use .*matmul"):
        find_backend("triton", needs)
