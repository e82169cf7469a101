"""Numbers that change from step to step, copied from the host to a device at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hogwild_dist.kvcache.page_allocator import ceil_div

ALIGNMENT = 16
"""Tensors begin at multiples of this number of bytes."""


def upload(
    lists: Sequence[Sequence[float] | np.ndarray], dtype: torch.dtype, device: torch.device
) -> Sequence[Tensor]:
    """Return lists of numbers as tensors on a device, after one copy.

    On a GPU the copy leaves from pinned memory and does not wait. Each tensor begins at a multiple
    of 16 bytes: Triton compiles a kernel anew for every pattern of alignments.

    Args:
        lists: the numbers; each list becomes a tensor of one dimension.
        dtype: dtype of the tensors.
        device: device of the tensors.
    """
    unit = ALIGNMENT // dtype.itemsize
    places = []
    total = 0
    for numbers in lists:
        places.append((total, total + len(numbers)))
        total += ceil_div(len(numbers), unit) * unit
    on_host = torch.zeros(total, dtype=dtype, pin_memory=device.type == "cuda")
    array = on_host.numpy()
    for (begin, end), numbers in zip(places, lists, strict=True):
        array[begin:end] = numbers
    on_device = on_host.to(device, non_blocking=True)
    return [on_device[begin:end] for begin, end in places]
