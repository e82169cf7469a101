"""A trial of a fused operation: whether it computes what it replaces, on random numbers."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.errors import first_line

log = logging.getLogger(__name__)

LIMITS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference, over the largest result, that is rounding; other dtypes stay unfused."""

TRIAL_TOKENS = 3
"""Tokens of the random inputs."""

Inputs = tuple[Tensor, ...]


def random(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return random numbers, the same ones in every trial."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator).to(device, dtype)


def agree(kind: str, own: Callable[..., Any], fused: Callable[..., Any], inputs: Inputs) -> bool:
    """Return whether a fused operation runs here and computes what another does.

    Args:
        kind: what is fused, for the log.
        own: what it replaces; returns a tensor or a tuple of tensors.
        fused: the fused operation.
        inputs: arguments of both.
    """
    limit = LIMITS.get(inputs[0].dtype)
    if limit is None:
        return False
    try:
        right, found = own(*inputs), fused(*inputs)
    except Exception as error:  # a compiler or driver may raise anything
        log.warning("a fused %s does not run here: %s", kind, first_line(error))
        return False
    pairs = zip(_flat(right), _flat(found), strict=True)
    return all((a - b).abs().max() <= limit * a.abs().max() for a, b in pairs)


def _flat(result: Any) -> Inputs:
    return result if isinstance(result, tuple) else (result,)
