"""Replaces small operations of a transformers model by fused ones, where both compute the same.

The model's code stays what it is: instances of its norms, its MLPs and its attention get a forward
of their own, after a comparison on random numbers. What differs keeps its own operations.
"""

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from hogwild_dist.errors import first_line
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.model.fused.operations import rms_norm, rotate_both, silu_times

log = logging.getLogger(__name__)

ROTATION = "apply_rotary_pos_emb"
"""The function of transformers' modules that rotates queries and keys."""

LIMITS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference, over the largest result, that is rounding; other dtypes stay unfused."""

TRIAL_TOKENS = 3
"""Tokens of the random inputs."""


Inputs = tuple[Tensor, ...]


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
    agree: dict[Hashable, bool] = {}
    count: Counter[str] = Counter()
    for module in hf_model.modules():
        rotation = None if rotary is None else _rotation(module, rotary)
        for found in (_norm(module), _gate(module), rotation):
            if found is None:
                continue
            if found.key not in agree:
                agree[found.key] = _agree(found)
            if agree[found.key]:
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
    x = _random((1, TRIAL_TOKENS, len(weight)), weight)

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
    x = _random((1, TRIAL_TOKENS, down.out_features), next(down.parameters()))

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
    q, k = (_random((1, heads, TRIAL_TOKENS, size), like) for heads in (2, 1))
    half = len(rotary.inv_freq[rotary.table_of_layer[layer]])
    cos, sin = (_random((1, TRIAL_TOKENS, half), like).repeat(1, 1, 2) for _ in range(2))
    return _Candidate(
        "rotation", ("rotation", own, size, half), MethodType(copy, module), original, rotation,
        (q, k, cos, sin),
    )  # fmt: skip


def _takes_one(module: nn.Module) -> bool:
    """Return whether the forward of a module has one parameter."""
    return len(inspect.signature(module.forward).parameters) == 1


def _random(shape: tuple[int, ...], like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator).to(like.device, like.dtype)


def _agree(candidate: _Candidate) -> bool:
    """Return whether a fused forward computes what the module's own does."""
    limit = LIMITS.get(candidate.inputs[0].dtype)
    if limit is None:
        return False
    try:
        right, found = candidate.own(*candidate.inputs), candidate.fused(*candidate.inputs)
    except Exception as error:  # a compiler or driver may raise anything
        log.warning("a fused %s does not run here: %s", candidate.kind, first_line(error))
        return False
    pairs = zip(_flat(right), _flat(found), strict=True)
    return all((a - b).abs().max() <= limit * a.abs().max() for a, b in pairs)


def _flat(result: Any) -> Inputs:
    return result if isinstance(result, tuple) else (result,)
