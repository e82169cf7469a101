"""Attention kernels by name: the package's own, and any other by its import path."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import torch

from hogwild_dist.attention.backend import AttentionBackend, AttentionNeeds
from hogwild_dist.attention.piece_attention import PieceBackend
from hogwild_dist.attention.piece_kernels import AttentionKernel, attend_cpu, attend_matmul
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.attention.tables.torch_kernel import TorchKernel
from hogwild_dist.attention.users_kernel import UsersKernel
from hogwild_dist.errors import ConfigError, first_line

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """A kernel of the package.

    Attributes:
        make: makes its backend for a model.
        fault: returns why a model cannot use it, as a part of a sentence; None if it can.
        defaults: dtypes for which it may be the default; None is any.
    """

    make: Callable[[AttentionNeeds], AttentionBackend]
    fault: Callable[[AttentionNeeds], str | None]
    defaults: frozenset[torch.dtype] | None = None


def _pieces(kernel: AttentionKernel) -> Callable[[AttentionNeeds], AttentionBackend]:
    return lambda _: PieceBackend(kernel)


def _cpu_fault(needs: AttentionNeeds) -> str | None:
    return None if needs.device.type == "cpu" else f"does not run on {needs.device.type!r}"


@lru_cache
def _triton_fault(needs: AttentionNeeds) -> str | None:
    if find_spec("triton") is None:
        return "needs the package triton, which is not installed"
    from hogwild_dist.attention.triton.launches import fault  # noqa: PLC0415  # needs triton
    from hogwild_dist.attention.triton.trial import trial_fault  # noqa: PLC0415  # likewise

    return fault(needs) or trial_fault(needs)


def _triton(needs: AttentionNeeds) -> AttentionBackend:
    from hogwild_dist.attention.triton.launches import TritonKernel  # noqa: PLC0415  # needs triton

    return TableBackend(TritonKernel.on(needs.device))


KERNELS = {
    "cpu-flash": Registered(_pieces(attend_cpu), _cpu_fault),
    # In float32 its products without tensor cores spill registers; matmul is the better default.
    "triton": Registered(_triton, _triton_fault, frozenset({torch.bfloat16, torch.float16})),
    "matmul": Registered(_pieces(attend_matmul), lambda _: None),
    "tables": Registered(lambda _: TableBackend(TorchKernel()), lambda _: None, frozenset()),
}
"""Name -> kernel; the first that a model can use is its default."""


def usable_names(needs: AttentionNeeds) -> list[str]:
    """Return the names of the package's kernels that a model can use."""
    return [name for name, one in KERNELS.items() if one.fault(needs) is None]


def find_backend(name: str | None, needs: AttentionNeeds) -> AttentionBackend:
    """Return the attention backend of a kernel's name.

    Args:
        name: a key of `KERNELS`; or ``module:function``, the import path of a kernel of your own
            for single pieces (`piece_kernels.AttentionKernel`), which every shard must be able to
            import; or None for the model's default.
        needs: what the model asks of it.

    Raises:
        ConfigError: no such kernel exists, the model cannot use it, or a trial shows a kernel of
            your own to be wrong.
    """
    if name is None:
        return KERNELS[_default(needs)].make(needs)
    if ":" in name:
        kernel = UsersKernel(name, _imported(name))
        kernel.check(needs)
        return PieceBackend(kernel)
    if name not in KERNELS:
        raise ConfigError(
            f"Unknown attention kernel {name!r}; use {', '.join(KERNELS)}, or module:function for "
            "one of your own."
        )
    fault = KERNELS[name].fault(needs)
    if fault is not None:
        usable = ", ".join(usable_names(needs))
        raise ConfigError(f"The attention kernel {name!r} {fault}; use {usable}.")
    return KERNELS[name].make(needs)


def _default(needs: AttentionNeeds) -> str:
    """Return the name of a model's default kernel; a faster one that it cannot use is logged."""
    for name, one in KERNELS.items():
        if one.defaults is not None and needs.dtype not in one.defaults:
            continue
        fault = one.fault(needs)
        if fault is None:
            return name
        if needs.device.type == "cuda" and name != "cpu-flash":
            log.warning("the attention kernel %r %s; a slower one is used", name, fault)
    raise AssertionError("matmul has no faults")


def _imported(path: str) -> AttentionKernel:
    """Import a user's own kernel."""
    module, _, attribute = path.partition(":")
    try:
        kernel: AttentionKernel = getattr(import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            f"The attention kernel {path!r} cannot be imported ({first_line(error)}); write "
            "module:function, and put the module's folder on PYTHONPATH if it is not installed."
        ) from error
    if not callable(kernel):
        raise ConfigError(
            f"The attention kernel {path!r} is not a function; write module:function."
        )
    return kernel
