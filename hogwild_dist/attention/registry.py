"""Attention kernels by name: the package's own, and any other by its import path."""

from dataclasses import dataclass
from importlib import import_module

import torch

from hogwild_dist.attention.kernels import AttentionKernel, attend_cpu, attend_matmul
from hogwild_dist.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Registered:
    """A kernel of the package.

    Attributes:
        kernel: the function that attends.
        devices: device types that it runs on; None is any.
    """

    kernel: AttentionKernel
    devices: frozenset[str] | None = None


KERNELS = {
    "cpu-flash": Registered(attend_cpu, frozenset({"cpu"})),
    "matmul": Registered(attend_matmul),
}
"""Name -> kernel; the first that runs on a device is its default."""


def kernels_for(device: torch.device) -> dict[str, AttentionKernel]:
    """Return name -> kernel for the package's kernels that run on a device, its default first."""
    return {
        name: one.kernel
        for name, one in KERNELS.items()
        if one.devices is None or device.type in one.devices
    }


def find_kernel(name: str | None, device: torch.device) -> AttentionKernel:
    """Return the attention kernel of a name.

    Args:
        name: a key of `KERNELS`; or ``module:function``, the import path of a kernel of your own,
            which every shard must be able to import; or None for the device's default.
        device: the device that the kernel runs on.

    Raises:
        ConfigError: no such kernel exists, or it does not run on the device.
    """
    usable = kernels_for(device)
    if name is None:
        return next(iter(usable.values()))
    if ":" in name:
        return _imported(name)
    if name not in KERNELS:
        raise ConfigError(
            f"Unknown attention kernel {name!r}; use {', '.join(KERNELS)}, or module:function for "
            "one of your own."
        )
    if name not in usable:
        raise ConfigError(
            f"The attention kernel {name!r} does not run on {device.type!r}; use "
            f"{', '.join(usable)}."
        )
    return usable[name]


def _imported(path: str) -> AttentionKernel:
    """Import a user's own kernel."""
    module, _, attribute = path.partition(":")
    try:
        kernel: AttentionKernel = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The attention kernel {path!r} cannot be imported ({error}); write module:function, "
            "and put the module's folder on PYTHONPATH if it is not installed."
        ) from error
    if not callable(kernel):
        raise ConfigError(
            f"The attention kernel {path!r} is not a function; write module:function."
        )
    return kernel
