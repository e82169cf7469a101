"""One product for linear layers that have the same input: queries, keys and values; gate and up.

A decode step reads every weight for a few rows, so the fixed cost of a product counts. transformers
keeps these layers apart and calls them one after the other, each with the same tensor.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of the layers of a module that are merged if all of them are plain linear layers."""


class MergedLinear(nn.Module):
    """Sibling layers as one linear layer.

    The sibling that is called first computes the product of all, and the others take their parts of
    it if they are called with the very same tensor; the last one drops it. Nothing is remembered
    from one forward pass to the next, so a CUDA graph captures the product and no decision.

    A model that calls only some siblings, or gives them different inputs, gets correct results, but
    computes unused parts, of which the last ones are kept until its next forward pass. The input
    must not change in place between the calls.

    Args:
        layers: linear layers with as many inputs, all with biases or all without.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.linear = _joined(layers)
        self._sizes = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._parts: dict[int, Tensor] = {}

    def part(self, index: int, x: Tensor) -> Tensor:
        """Map ``[..., in_features]`` to the part ``[..., out_features]`` of one sibling."""
        if x is not self._input or index not in self._parts:
            self._input = x
            self._parts = dict(enumerate(self.linear(x).split(self._sizes, -1)))
        part = self._parts.pop(index)
        if not self._parts:
            self._input = None
        return part


class MergedPart(nn.Module):
    """One of the siblings of a merged layer, in the place of its own linear layer.

    Args:
        merged: the layer of all siblings.
        index: which of the siblings this is.
    """

    def __init__(self, merged: MergedLinear, index: int) -> None:
        super().__init__()
        self.merged = merged
        self._index = index

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in_features]`` to ``[..., out_features]``."""
        return self.merged.part(self._index, x)


def merge_linears(model: nn.Module) -> int:
    """Replace the siblings of every module of `model` in place; each weight is stored once.

    Returns:
        Number of merged layers.
    """
    count = 0
    for parent in list(model.modules()):
        for names in SIBLINGS:
            found = [getattr(parent, name, None) for name in names]
            layers = [layer for layer in found if type(layer) is nn.Linear]
            if len(layers) == len(names) and _alike(layers):
                merged = MergedLinear(layers)
                for index, name in enumerate(names):
                    setattr(parent, name, MergedPart(merged, index))
                count += 1
    return count


def _alike(layers: Sequence[nn.Linear]) -> bool:
    """Return whether layers differ in their numbers of outputs at most."""
    kinds = {
        (one.in_features, one.bias is None, one.weight.dtype, one.weight.device) for one in layers
    }
    return len(kinds) == 1


@torch.no_grad()
def _joined(layers: Sequence[nn.Linear]) -> nn.Linear:
    """Return one linear layer with the outputs of `layers`, in their order."""
    outputs = sum(layer.out_features for layer in layers)
    joined = nn.Linear(layers[0].in_features, outputs, bias=False, device="meta")
    joined.weight = nn.Parameter(torch.cat([one.weight for one in layers]), requires_grad=False)
    if layers[0].bias is not None:
        joined.bias = nn.Parameter(torch.cat([one.bias for one in layers]), requires_grad=False)
    return joined
