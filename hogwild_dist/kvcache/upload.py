"""Numbers that change from step to step, copied from the host to a device at once."""

from collections.abc import Sequence

import torch
from torch import Tensor


def upload(
    lists: Sequence[Sequence[float]], dtype: torch.dtype, device: torch.device
) -> Sequence[Tensor]:
    """Return lists of numbers as tensors on a device, after one copy.

    On a GPU the copy leaves from pinned memory and does not wait.

    Args:
        lists: the numbers; each list becomes a tensor of one dimension.
        dtype: dtype of the tensors.
        device: device of the tensors.
    """
    flat = torch.tensor([number for part in lists for number in part], dtype=dtype)
    if device.type == "cuda":
        flat = flat.pin_memory()
    return torch.split(flat.to(device, non_blocking=True), [len(part) for part in lists])
