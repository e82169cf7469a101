"""Merged layers: the same numbers as the layers apart, in any order of calls, and nothing kept."""

import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from hogwild_dist.model.cpu_linear import ReorderedLinear, is_available
from hogwild_dist.model.merged_linear import MergedLinear, MergedPart, merge_linears
from hogwild_dist.model.small_model import random_model
from tests.families import FAMILIES
from tests.model.test_families import IDS, plain

NAMES = ("q_proj", "k_proj", "v_proj")


class Projections(nn.Module):
    """Three siblings of different widths."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, width in zip(NAMES, (24, 8, 8), strict=True):
            setattr(self, name, nn.Linear(16, width, bias=bias))

    def call(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = getattr(self, name)(x)
        return out


def merged_pair(bias: bool = False) -> tuple[Projections, Projections]:
    """Siblings apart, and equal ones that are merged."""
    apart = Projections(bias)
    merged = copy.deepcopy(apart)
    assert merge_linears(merged) == 1
    return apart, merged


def product_of(merged: Projections) -> MergedLinear:
    part = merged.q_proj
    assert isinstance(part, MergedPart)
    return part.merged


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 1, 0), (0,), (0, 0, 1)])
def test_siblings_compute_the_same_in_any_order(bias: bool, order: tuple[int, ...]) -> None:
    apart, merged = merged_pair(bias)
    with torch.inference_mode():
        for _ in range(2):
            x = torch.randn(2, 3, 16)
            for place in order:
                found, right = (one.call(NAMES[place], x) for one in (merged, apart))
                torch.testing.assert_close(found, right)


def test_siblings_with_inputs_of_their_own_compute_the_same() -> None:
    apart, merged = merged_pair()
    with torch.inference_mode():
        for name in NAMES:
            x = torch.randn(3, 16)
            torch.testing.assert_close(merged.call(name, x), apart.call(name, x))


def test_one_product_is_computed_and_dropped_by_the_last_sibling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, merged = merged_pair()
    linear = product_of(merged).linear
    calls: list[Tensor] = []
    monkeypatch.setattr(
        linear, "forward", lambda x, real=linear.forward: calls.append(x) or real(x)
    )
    x = torch.randn(3, 16)
    with torch.inference_mode():
        for name in NAMES:
            merged.call(name, x)
    assert len(calls) == 1
    calls.clear()
    seen = weakref.ref(x)
    del x
    gc.collect()
    assert seen() is None


def test_each_weight_is_stored_once() -> None:
    apart, merged = merged_pair(bias=True)
    sizes = [sum(one.numel() for one in model.parameters()) for model in (apart, merged)]
    assert sizes[0] == sizes[1]


@pytest.mark.skipif(not is_available(), reason="this build of torch has no oneDNN")
def test_a_merged_layer_can_be_reordered() -> None:
    apart, merged = merged_pair(bias=True)
    product = product_of(merged)
    product.linear = ReorderedLinear(product.linear)
    x = torch.randn(3, 16)
    with torch.inference_mode():
        for name in NAMES:
            torch.testing.assert_close(merged.call(name, x), apart.call(name, x))


def other_widths() -> Projections:
    model = Projections()
    model.k_proj = nn.Linear(8, 8, bias=False)
    return model


def one_bias() -> Projections:
    model = Projections()
    model.k_proj = nn.Linear(16, 8)
    return model


def other_dtype() -> Projections:
    model = Projections()
    model.k_proj = nn.Linear(16, 8, bias=False, dtype=torch.bfloat16)
    return model


def a_missing_sibling() -> Projections:
    model = Projections()
    model.v_proj = None
    return model


def a_class_of_its_own() -> Projections:
    class Scaled(nn.Linear):
        pass

    model = Projections()
    model.v_proj = Scaled(16, 8, bias=False)
    return model


@pytest.mark.parametrize(
    "make", [other_widths, one_bias, other_dtype, a_missing_sibling, a_class_of_its_own]
)
def test_layers_that_differ_stay_apart(make) -> None:
    assert merge_linears(make()) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_the_same(name: str) -> None:
    """All but phi3, whose layers are merged in its checkpoints, have two products a layer."""
    model = random_model(FAMILIES[name](), dtype=torch.float64, device=torch.device("cpu")).eval()
    expected = plain(model, IDS)
    assert merge_linears(model) == (0 if name == "phi3" else 6)
    torch.testing.assert_close(plain(model, IDS), expected)
