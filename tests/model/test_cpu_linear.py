"""Reordered weights: the same numbers, and only where they are faster."""

import pytest
import torch

from hogwild_dist.model import cpu_linear
from hogwild_dist.model.cpu_linear import ReorderedLinear, is_available, reorder_linears
from hogwild_dist.model.loader import prepare_model
from tests.tiny_engine import tiny_network

pytestmark = pytest.mark.skipif(not is_available(), reason="this build of torch has no oneDNN")


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_reordered_weights_compute_the_same(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 200, bias=bias)
    x = torch.randn(2, rows, 96)
    with torch.inference_mode():
        assert torch.allclose(ReorderedLinear(linear)(x), linear(x), atol=1e-5)


def slower(kind: type) -> object:
    """A clock by which layers of one kind take twice as long."""
    return lambda layers: 2.0 if type(layers[0]) is kind else 1.0


def test_the_faster_layout_is_taken_and_shards_agree_on_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shard whose machine is faster with the other layout holds the same model."""
    models = {}
    for kind in (torch.nn.Linear, ReorderedLinear):
        monkeypatch.setattr(cpu_linear, "_seconds", slower(kind))
        models[kind] = prepare_model(tiny_network(), name="tiny")
    counts = [
        sum(type(one) is ReorderedLinear for one in model.hf_model.modules())
        for model in models.values()
    ]
    assert counts == [9, 0]
    assert len({model.fingerprint for model in models.values()}) == 1


def test_a_gain_too_small_to_matter_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "_seconds", lambda _: 1.0)
    assert reorder_linears(tiny_network()) == 0


def test_other_dtypes_and_other_modules_stay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4).double(), torch.nn.ReLU())
    assert reorder_linears(model) == 0
