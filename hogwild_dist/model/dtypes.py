"""The dtype of a model: the one that the user names, or the checkpoint's own where it is fast."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from hogwild_dist.errors import ConfigError

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

FILE_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""Name of a dtype in a safetensors file -> dtype."""

HALVES = frozenset({torch.bfloat16, torch.float16})

CPU_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Capabilities of a CPU, of which each computes bfloat16 in hardware (x86-64 and ARM)."""


def named_dtype(name: str) -> torch.dtype:
    """Return the dtype of this name.

    Raises:
        ConfigError: the dtype is unknown.
    """
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}; use one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def default_dtype(device: torch.device, checkpoint: torch.dtype | None) -> torch.dtype:
    """Return the dtype that suits a checkpoint on a device.

    A GPU computes a checkpoint in half precision in its own dtype and any other in bfloat16, if it
    has instructions for it. A CPU computes a bfloat16 checkpoint in bfloat16, if it has such
    instructions. All else is computed in float32. Like machines choose alike: nothing is measured.

    Args:
        device: device of the weights; if it is a GPU, it is the current one.
        checkpoint: dtype of the weights in their files; None if it is unknown.
    """
    if device.type == "cuda":
        wanted = checkpoint if checkpoint in HALVES else torch.bfloat16
        if wanted == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False):
            return wanted
    elif checkpoint == torch.bfloat16 and cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def checkpoint_dtype(config: Any, path: Path) -> torch.dtype | None:
    """Return the dtype of a checkpoint's weights: what its configuration or first file says.

    Args:
        config: configuration of a transformers model.
        path: folder of the model; a hub id has no files here.
    """
    named = config.dtype or config.get_text_config().dtype
    if isinstance(named, torch.dtype):
        return named
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it cannot be iterated
                dtype = FILE_DTYPES.get(weights.get_slice(name).get_dtype())
                if dtype is not None:
                    return dtype
    return None


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has instructions for products in bfloat16."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in CPU_BFLOAT16)
