"""What the parts of the script are told, and what they return."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.shapes import SHAPES, Shape

Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured.

    Attributes:
        device: the device.
        tiny: whether tiny shapes try the script itself.
        model: folder of the demo model, for the recordings; None skips them.
    """

    device: torch.device
    tiny: bool
    model: Path | None = None

    @property
    def interpreted(self) -> bool:
        """Whether Triton interprets its kernels, which is wrong for products in bfloat16."""
        return self.device.type == "cpu"

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes that fit, by name."""
        if self.tiny:
            return {"tiny": SHAPES["tiny"]}
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0
        chosen = {name: shape for name, shape in SHAPES.items() if name != "tiny"}
        if free < 76 * 2**30:
            del chosen["Qwen3-32B"]
        return chosen

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of measured steps."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32
