"""Numbers at fixed places on a device, filled anew in each step by one copy."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hogwild_dist.kvcache.page_allocator import ceil_div

ALIGNMENT = 4
"""Rows begin at multiples of this number of elements."""


class Arena:
    """Named rows of numbers on a device.

    Each row begins at a multiple of 16 bytes, which Triton compiles kernels for. On a GPU two
    pinned buffers take turns, so that the numbers of a step can be written while the copy of the
    step before is on its way.

    Args:
        lengths: name -> number of elements.
        device: device of the rows.
        dtype: dtype of the rows.
    """

    def __init__(
        self, lengths: Mapping[str, int], device: torch.device, dtype: torch.dtype = torch.int32
    ) -> None:
        pinned = device.type == "cuda"
        self._places: dict[str, tuple[int, int]] = {}
        total = 0
        for name, length in lengths.items():
            self._places[name] = (total, total + length)
            total += ceil_div(length, ALIGNMENT) * ALIGNMENT
        self._on_device = torch.zeros(total, dtype=dtype, device=device)
        self.fields: dict[str, Tensor] = {
            name: self._on_device[begin:end] for name, (begin, end) in self._places.items()
        }
        """The rows on the device; they stay where they are."""
        count = 2 if pinned else 1
        self._buffers = [torch.zeros(total, dtype=dtype, pin_memory=pinned) for _ in range(count)]
        self._copied: list[torch.cuda.Event] = []
        if pinned:
            self._copied = [torch.cuda.Event() for _ in range(count)]  # type: ignore[no-untyped-call]
        self._turn = 0

    def fill(self, rows: Mapping[str, Sequence[float]], padding: Mapping[str, float]) -> None:
        """Copy numbers to the device, without waiting for it.

        Args:
            rows: name -> the numbers at the beginning of the row, for every name.
            padding: name -> the number that fills the rest of the row; 0 if it is not named.
        """
        buffer = self._buffers[self._turn]
        if self._copied:
            self._copied[self._turn].synchronize()
        numbers = buffer.numpy()
        for name, (begin, end) in self._places.items():
            row = rows[name]
            used = begin + len(row)
            assert used <= end, f"{name} has {len(row)} numbers, and the arena {end - begin}"
            numbers[begin:used] = row
            numbers[used:end] = padding.get(name, 0)
        self._on_device.copy_(buffer, non_blocking=True)
        if self._copied:
            self._copied[self._turn].record()
            self._turn = 1 - self._turn
