"""Faster float32 products on CPUs: weights reordered once for oneDNN, where that is faster.

With few rows (a decode step) torch's default float32 product reads the weight in a layout that
costs about twice the time on some machines; on others it is the faster one, so both are measured
when a model is loaded. The operators below are those of torch's own compiler for frozen models.
They are private, so only this module uses them; without them a model stays unchanged.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

EXPECTED_ROWS = 8
"""Number of rows to optimise the layout for; 1 to 8 cost the same, and more also work."""

SAMPLE_BYTES = 96 * 2**20
"""Weights that are measured: more than caches hold, so that they are read from memory."""

ROUNDS = 5
"""Rounds in which both layouts are measured in turn; the fastest of each counts."""

ROWS = 4
"""Rows of the measured products: a step has one for each worker."""

GAIN = 1.1
"""How many times faster the reordered layout must be, so that noise rarely decides."""


class ReorderedLinear(nn.Module):
    """A linear layer whose weight is stored in oneDNN's blocked layout."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, EXPECTED_ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in_features]`` to ``[..., out_features]``."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def is_available() -> bool:
    """Return whether this build of torch has the operators."""
    built_in: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built_in and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def reorder_linears(model: nn.Module) -> int:
    """Replace every plain float32 linear layer of `model` in place, if that is faster here.

    Returns:
        Number of replaced layers; 0 if the operators are missing or slower.
    """
    if not is_available():
        return 0
    found = list(_linears(model))
    if not found or not _is_faster([child for _, _, child in found]):
        return 0
    for parent, name, child in found:
        setattr(parent, name, ReorderedLinear(child))
    return len(found)


def _linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Yield the plain float32 linear layers, each with its parent and its name there."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear and child.weight.dtype == torch.float32:
                yield parent, name, child


@torch.inference_mode()
def _is_faster(linears: Sequence[nn.Linear]) -> bool:
    """Return whether some of the layers are faster in the reordered layout."""
    sample: list[nn.Linear] = []
    size = 0
    for linear in linears:
        sample.append(linear)
        size += linear.weight.numel() * linear.weight.element_size()
        if size >= SAMPLE_BYTES:
            break
    plain, reordered = _best_seconds([sample, [ReorderedLinear(linear) for linear in sample]])
    return plain > GAIN * reordered


def _best_seconds(variants: Sequence[Sequence[Any]]) -> list[float]:
    """Return the least time that each variant takes, measured in turns.

    Args:
        variants: linear layers that compute the same in different ways.
    """
    taken = [[_seconds(layers) for layers in variants] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*taken, strict=True)]


def _seconds(layers: Sequence[Any]) -> float:
    """Return the time that linear layers take for a few rows each."""
    rows = [torch.zeros(ROWS, one.in_features, dtype=one.weight.dtype) for one in layers]
    begin = time.perf_counter()
    for layer, row in zip(layers, rows, strict=True):
        layer(row)
    return time.perf_counter() - begin
