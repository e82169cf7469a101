"""Numbers that change from step to step, copied from the host to a device at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16
"""Tensors begin at multiples of this number of bytes."""


def upload(
    lists: Sequence[Sequence[float]], dtype: torch.dtype, device: torch.device
) -> Sequence[Tensor]:
    """Return lists of numbers as tensors on a device, after one copy.

    On a GPU the copy leaves from pinned memory and does not wait. Each tensor begins at a multiple
    of 16 bytes: Triton compiles a kernel anew for every pattern of alignments.

    Args:
        lists: the numbers; each list becomes a tensor of one dimension.
        dtype: dtype of the tensors.
        device: device of the tensors.
    """
    unit = max(1, ALIGNMENT // dtype.itemsize)
    flat: list[float] = []
    places = []
    for numbers in lists:
        places.append((len(flat), len(flat) + len(numbers)))
        flat += numbers
        flat += [0] * (-len(flat) % unit)
    on_host = torch.tensor(flat, dtype=dtype)
    if device.type == "cuda":
        on_host = on_host.pin_memory()
    on_device = on_host.to(device, non_blocking=True)
    return [on_device[begin:end] for begin, end in places]
