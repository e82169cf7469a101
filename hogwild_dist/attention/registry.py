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


def find_kernel(name: str | None, device: torch.device) -> AttentionKernel:
    """Return the attention kernel of a name.

    Args:
        name: a key of `KERNELS`; or ``module:function``, the import path of a kernel of your own,
            which every shard must be able to import; or None for the device's default.
        device: the device that the kernel runs on.

    Raises:
        ConfigError: no such kernel exists, or it does not run on the device.
    """
    if name is None:
        return next(one.kernel for one in KERNELS.values() if _runs_on(one, device))
    if ":" in name:
        return _imported(name)
    if name not in KERNELS:
        raise ConfigError(
            f"Unknown attention kernel {name!r}; use {', '.join(KERNELS)}, or module:function for "
            "one of your own."
        )
    if not _runs_on(KERNELS[name], device):
        usable = [known for known, one in KERNELS.items() if _runs_on(one, device)]
        raise ConfigError(
            f"The attention kernel {name!r} does not run on {device.type!r}; use "
            f"{', '.join(usable)}."
        )
    return KERNELS[name].kernel


def _runs_on(registered: Registered, device: torch.device) -> bool:
    return registered.devices is None or device.type in registered.devices


def _imported(path: str) -> AttentionKernel:
    """Import a user's own kernel."""
    module, _, attribute = path.partition(":")
    try:
        kernel: AttentionKernel = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The attention kernel {path!r} cannot be imported ({error}); write module:function."
        ) from error
    if not callable(kernel):
        raise ConfigError(f"The attention kernel {path!r} is not a function; name one.")
    return kernel
