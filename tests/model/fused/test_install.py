"""Models whose small operations are fused compute what transformers computes."""

import logging
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model.fused import install
from hogwild_dist.model.fused.install import fuse
from hogwild_dist.model.merged_linear import merge_linears
from hogwild_dist.model.small_model import random_model
from tests.attention.random_team import DEVICE
from tests.families import FAMILIES

IDS = torch.randint(1, 128, (1, 9), generator=torch.Generator().manual_seed(3), device="cpu")

EXPECTED = {
    # Per layer two norms, and one at the end; a gate and a rotation per layer.
    **dict.fromkeys(("llama", "llama3", "linear", "yarn", "qwen2", "mistral"), (7, 3, 3)),
    "qwen3": (13, 3, 3),
    "phi3": (7, 0, 3),  # gate and up are one layer already
    "gemma3": (0, 0, 3),  # norms multiply by 1 + weight; gates are not SiLU
}


def model_of(name: str, dtype: torch.dtype) -> Any:
    return random_model(FAMILIES[name](), dtype=dtype, device=DEVICE).eval()


def with_tables(name: str, dtype: torch.dtype) -> tuple[Any, RotaryTables]:
    model = model_of(name, dtype)
    return model, RotaryTables.from_model(model)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS.to(DEVICE), use_cache=False).logits


@pytest.mark.parametrize("name", FAMILIES)
def test_the_logits_stay_and_every_operation_that_can_be_is_fused(name: str) -> None:
    model = model_of(name, torch.float32)
    right = logits(model)
    count = fuse(model, RotaryTables.from_model(model))
    assert (count["norm"], count["gate"], count["rotation"]) == EXPECTED[name]
    assert (logits(model) - right).abs().max() < 1e-5 * right.std()


@pytest.mark.parametrize("name", ["qwen3", "qwen2"])
def test_parts_of_merged_layers_are_fused_alike(name: str) -> None:
    """Their rows lie apart in memory."""
    model = model_of(name, torch.float32)
    right = logits(model)
    assert merge_linears(model) == 6
    count = fuse(model, RotaryTables.from_model(model))
    assert (count["norm"], count["gate"], count["rotation"]) == EXPECTED[name]
    assert (logits(model) - right).abs().max() < 1e-5 * right.std()


def test_half_precision_stays_within_its_rounding() -> None:
    model = model_of("qwen3", torch.float16)
    right = logits(model).float()
    assert fuse(model, RotaryTables.from_model(model)).total() == 19
    assert (logits(model).float() - right).abs().max() < 2e-2 * right.std()


def test_float64_keeps_the_operations_of_transformers() -> None:
    assert not fuse(*with_tables("llama", torch.float64))


class OtherRMSNorm(nn.Module):
    """Looks like a norm that can be fused, and is none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.variance_epsilon = 1e-5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


class GatedRMSNorm(OtherRMSNorm):
    def forward(self, x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        return self.weight * x


@pytest.mark.parametrize("kind", [OtherRMSNorm, GatedRMSNorm])
def test_what_computes_something_else_is_left_alone(kind: type[nn.Module]) -> None:
    norm = kind().to(DEVICE)
    assert not fuse(nn.Sequential(norm))
    assert norm(torch.ones(8, device=DEVICE)).tolist() == [1.0] * 8


def test_a_kernel_that_fails_is_left_out_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(install, "rms_norm", lambda *args: 1 / 0)
    caplog.set_level(logging.WARNING)
    count = fuse(*with_tables("llama", torch.float32))
    assert (count["norm"], count["gate"], count["rotation"]) == (0, 3, 3)
    assert caplog.messages == ["a fused norm does not run here: division by zero"]


def test_a_batch_of_several_sequences_is_rotated_by_transformers() -> None:
    model, ids = model_of("llama", torch.float32), IDS.view(3, 3).to(DEVICE)
    with torch.inference_mode():
        right = model(input_ids=ids, use_cache=False).logits
        fuse(model, RotaryTables.from_model(model))
        found = model(input_ids=ids, use_cache=False).logits
    assert (found - right).abs().max() < 1e-5 * right.std()
