"""Faster float32 products on CPUs: weights reordered once for oneDNN.

With few rows (a decode step) torch's default float32 product reads the weight in a layout that
costs about twice the time. The operators below are those of torch's own compiler for frozen models.
They are private, so only this module uses them; without them a model stays unchanged.
"""

import torch
from torch import Tensor, nn

EXPECTED_ROWS = 8
"""Number of rows to optimise the layout for; 1 to 8 cost the same, and more also work."""


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
    """Replace every plain float32 linear layer of `model`, in place.

    Returns:
        Number of replaced layers; 0 if the operators are missing.
    """
    if not is_available():
        return 0
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype == torch.float32
    ]
    for parent, name, child in found:
        setattr(parent, name, ReorderedLinear(child))
    return len(found)
