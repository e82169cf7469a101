"""A user's own attention kernel: tried before it is used, and its errors in one sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.attention.backend import AttentionNeeds
from hogwild_dist.attention.piece_kernels import AttentionKernel, attend_matmul
from hogwild_dist.errors import ConfigError, first_line

NUM_HEADS = 2
"""Key-value heads of the trial."""

NUM_TOKENS = 3
"""Query tokens of the trial."""

NUM_KEYS = 40
"""Keys of each piece of the trial."""

LIMITS = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference from `attend_matmul` that is rounding, where results are about 1."""

WIDE_LIMIT = 5e-3
"""The same for float32 and wider; products in TF32 come close to it."""

NO_WEIGHT = -1e4
"""Log-sum-exp below which a row has no weight, in every dtype."""

Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None, float]


@dataclass(frozen=True, slots=True)
class UsersKernel:
    """An attention kernel that a user names by its import path.

    Attributes:
        name: the import path, for errors.
        kernel: the user's function.
    """

    name: str
    kernel: AttentionKernel

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Call the kernel; see `piece_kernels.AttentionKernel`.

        Raises:
            ConfigError: the kernel raised an error.
        """
        try:
            return self.kernel(q, k, v, mask, scale)
        except Exception as error:  # the code of a user may raise anything
            raise ConfigError(
                f"The attention kernel {self.name!r} raised {type(error).__name__}: "
                f"{first_line(error).rstrip('.')}; it is called with (q, k, v, mask, scale) and "
                "returns (out, lse)."
            ) from error

    @torch.inference_mode()
    def check(self, needs: AttentionNeeds) -> None:
        """Compare the kernel with `attend_matmul` on small random numbers.

        Raises:
            ConfigError: the kernel raises an error, returns something other than ``(out, lse)``,
                or computes other results.
        """
        for inputs in _inputs(needs):
            fault = _fault(self(*inputs), inputs)
            if fault is not None:
                raise ConfigError(
                    f"The attention kernel {self.name!r} {fault}; compare it with attend_matmul in "
                    "hogwild_dist/attention/piece_kernels.py."
                )


def _fault(found: Any, inputs: Inputs) -> str | None:
    """Return what is wrong with a kernel's result, as a part of a sentence; None if it is right."""
    if not isinstance(found, tuple) or len(found) != 2:
        return f"returns {_kind(found)} and not two tensors, out and lse"
    for name, one, right in zip(("out", "lse"), found, attend_matmul(*inputs), strict=True):
        if not isinstance(one, Tensor):
            return f"returns {_kind(one)} and no tensor as {name}"
        if one.shape != right.shape:
            shapes = f"{list(one.shape)}, and not {list(right.shape)},"
            return f"returns {name} of shape {shapes} for q of shape {list(inputs[0].shape)}"
        if one.device != right.device:
            return f"returns {name} on {str(one.device)!r} for q on {str(right.device)!r}"
    return _difference(found, inputs)


def _difference(found: tuple[Tensor, Tensor], inputs: Inputs) -> str | None:
    """Return what differs from `attend_matmul`; rows that see no key only need no weight."""
    (out, lse), (right_out, right_lse) = found, attend_matmul(*inputs)
    if torch.promote_types(lse.dtype, torch.float32) != lse.dtype:
        return f"returns lse in {_plain(lse.dtype)}, where float32 or wider is needed"
    seen = right_lse > NO_WEIGHT
    differences = {
        "out": (out - right_out)[seen],
        "lse": lse.clamp(min=NO_WEIGHT) - right_lse.clamp(min=NO_WEIGHT),
    }
    if not (out.isfinite().all() and lse.isfinite().all()):
        return "returns infinities or NaN for small random numbers"
    limit = LIMITS.get(inputs[0].dtype, WIDE_LIMIT)
    for name, difference in differences.items():
        if (most := float(difference.abs().max())) > limit:
            return (
                f"computes another {name} than matmul for small random numbers (difference "
                f"{most:.1e})"
            )
    return None


def _inputs(needs: AttentionNeeds) -> Iterator[Inputs]:
    """Yield arguments of all kinds: no mask, padded keys, and keys that some rows do not see."""
    generator = torch.Generator().manual_seed(1)
    num_queries = NUM_TOKENS * needs.num_groups
    scale = 0.7 * needs.head_dim**-0.5  # not every model's scale is the root of the head size

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(needs.device, needs.dtype)

    for pieces, mask_rows in ((1, 0), (2, 1), (2, num_queries)):
        q = random(pieces, NUM_HEADS, num_queries, needs.head_dim)
        # Like a cache's, keys and values are slices with gaps between their heads.
        slabs = (random(NUM_HEADS, pieces, NUM_KEYS + 5, needs.head_dim) for _ in range(2))
        k, v = (slab[:, :, 3:-2].transpose(0, 1) for slab in slabs)
        mask = _mask(q, mask_rows) if mask_rows else None
        yield q, k, v, mask, scale


def _mask(q: Tensor, num_rows: int) -> Tensor:
    """Return a mask that hides half of the last piece's keys, and from one of many rows all."""
    hidden = torch.finfo(q.dtype).min / 2
    mask = torch.zeros(q.shape[0], 1, num_rows, NUM_KEYS, dtype=q.dtype, device=q.device)
    mask[-1, :, :, NUM_KEYS // 2 :] = hidden
    if num_rows > 1:
        mask[-1, :, 0] = hidden
    return mask


def _kind(value: Any) -> str:
    """Return the kind of a value, for errors."""
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
