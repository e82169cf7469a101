"""Replaces small operations of a transformers model by fused ones, where both compute the same.

The model's code stays what it is: instances of its norms, its MLPs and its attention get a forward
of their own, after a comparison on random numbers. What differs keeps its own operations.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model.fused.operations import rms_norm, rotate_both, silu_times
from hogwild_dist.model.fused.trial import TRIAL_TOKENS, Inputs, agree, random

ROTATION = "apply_rotary_pos_emb"
"""The function of transformers' modules that rotates queries and keys."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A fused forward, and what decides whether it computes the same.

    Attributes:
        kind: ``norm``, ``gate`` or ``rotation``.
        key: what modules have in common that one comparison speaks for.
        forward: the fused forward of the module.
        own: what it is compared with.
        fused: what is compared.
        inputs: random inputs for both.
    """

    kind: str
    key: Hashable
    forward: Callable[..., Any]
    own: Callable[..., Any]
    fused: Callable[..., Any]
    inputs: Inputs


@torch.inference_mode()
def fuse(hf_model: nn.Module, rotary: RotaryTables | None = None) -> Counter[str]:
    """Fuse the norms, gates and rotations of a model in place.

    Args:
        hf_model: the model.
        rotary: its rotary tables; None if it has none.

    Returns:
        Number of modules with a fused ``norm``, ``gate`` and ``rotation``.
    """
    agreed: dict[Hashable, bool] = {}
    count: Counter[str] = Counter()
    for module in hf_model.modules():
        rotation = None if rotary is None else _rotation(module, rotary)
        for found in (_norm(module), _gate(module), rotation):
            if found is None:
                continue
            if found.key not in agreed:
                agreed[found.key] = agree(found.kind, found.own, found.fused, found.inputs)
            if agreed[found.key]:
                module.forward = found.forward
                count[found.kind] += 1
    return count


def _norm(module: nn.Module) -> _Candidate | None:
    """Return a fused forward for a root-mean-square norm with one input and one weight."""
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not (isinstance(weight, Tensor) and weight.ndim == 1 and isinstance(epsilon, float)):
        return None
    if "RMSNorm" not in type(module).__name__ or not _takes_one(module):
        return None
    x = random((1, TRIAL_TOKENS, len(weight)), weight.device, weight.dtype)

    def forward(hidden_states: Tensor) -> Tensor:
        return rms_norm(hidden_states, weight, epsilon)

    key = ("norm", type(module), len(weight), epsilon)
    return _Candidate("norm", key, forward, module.forward, forward, (x,))


def _gate(module: Any) -> _Candidate | None:
    """Return a fused forward for an MLP of gate, up and down projection."""
    names = ("gate_proj", "up_proj", "down_proj", "act_fn")
    if not all(isinstance(getattr(module, name, None), nn.Module) for name in names):
        return None
    if not _takes_one(module):
        return None
    down = module.down_proj
    weight = next(down.parameters())
    x = random((1, TRIAL_TOKENS, down.out_features), weight.device, weight.dtype)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = module.down_proj(silu_times(module.gate_proj(x), module.up_proj(x)))
        return out

    key = ("gate", type(module), type(module.act_fn))
    return _Candidate("gate", key, forward, module.forward, forward, (x,))


def _rotation(module: nn.Module, rotary: RotaryTables) -> _Candidate | None:
    """Return the forward of an attention that rotates queries and keys in one launch.

    It is the module's own code, which finds another function under the name `ROTATION`.
    """
    own = type(module).forward
    if not isinstance(own, FunctionType) or ROTATION not in own.__code__.co_names:
        return None
    original, size = own.__globals__.get(ROTATION), getattr(module, "head_dim", None)
    layer = getattr(module, "layer_idx", None)
    if not callable(original) or not isinstance(size, int) or not isinstance(layer, int):
        return None

    def rotation(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, **others: Any) -> Any:
        if others or q.shape[0] != 1 or q.stride(-1) != 1:
            return original(q, k, cos, sin, **others)
        return rotate_both(q, k, cos, sin)

    names = {**own.__globals__, ROTATION: rotation}
    copy = FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)
    copy.__kwdefaults__ = own.__kwdefaults__
    like = next(module.parameters())
    place = like.device, like.dtype
    q, k = (random((1, heads, TRIAL_TOKENS, size), *place) for heads in (2, 1))
    half = len(rotary.inv_freq[rotary.table_of_layer[layer]])
    cos, sin = (random((1, TRIAL_TOKENS, half), *place).repeat(1, 1, 2) for _ in range(2))
    return _Candidate(
        "rotation", ("rotation", own, size, half), MethodType(copy, module), original, rotation,
        (q, k, cos, sin),
    )  # fmt: skip


def _takes_one(module: nn.Module) -> bool:
    """Return whether the forward of a module has one parameter."""
    return len(inspect.signature(module.forward).parameters) == 1
