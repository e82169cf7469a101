"""`TritonKernel`: one attention launch and one merge a layer, for all rows of all sessions.

Each K and V is read once for up to `MOST_ROWS` query rows, the queries are rotated inside the
kernel, and partial results are merged in float32.
"""

import torch
import triton
from torch import Tensor

from hogwild_dist.attention.backend import AttentionNeeds
from hogwild_dist.attention.tables.kernel import LayerInput, LayerKind
from hogwild_dist.attention.triton.kernels import attend_tasks, merge_parts

LOG2_E = 1.4426950408889634

LEAST_ROWS = 16
"""Rows of the smallest tile, which tensor cores need."""

MOST_ROWS = 64
"""Rows of the largest tile of heads of at most `NARROW_HEAD`; 128 would spill registers."""

NARROW_HEAD = 128
"""Largest head size with tiles of `MOST_ROWS` rows and 64 keys; wider heads have half of both."""

MOST_HEAD_DIM = 256
"""Largest head size that the kernels are compiled and tested for."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Dtypes of the kernels."""

LEAST_CAPABILITY = (8, 0)
"""Oldest generation of GPUs that computes in bfloat16: Ampere."""

TASKS_PER_MULTIPROCESSOR = 3
"""Programs for each multiprocessor, so that all end at about the same time."""

PARTS_AT_A_TIME = 8
"""Parts that the merge reads at a time."""


def fault(needs: AttentionNeeds) -> str | None:
    """Return why a model cannot use these kernels, as a part of a sentence; None if it can."""
    device = needs.device
    if device.type != "cuda" and not (device.type == "cpu" and triton.knobs.runtime.interpret):
        return f"runs on NVIDIA GPUs, not on {device.type!r}"
    if needs.dtype not in DTYPES:
        return f"does not compute in {str(needs.dtype).removeprefix('torch.')}"
    if needs.head_dim > MOST_HEAD_DIM:
        return f"has heads of at most {MOST_HEAD_DIM}, and the model has {needs.head_dim}"
    rows = most_rows(needs.head_dim)
    if needs.num_groups > rows:
        return (
            f"has at most {rows} query heads for each key-value head, and the model has "
            f"{needs.num_groups}"
        )
    if device.type == "cuda" and torch.cuda.is_available():
        capability = torch.cuda.get_device_capability(device)
        if capability < LEAST_CAPABILITY:
            return "needs a GPU of compute capability 8.0, and this one has {}.{}".format(
                *capability
            )
    return None


class TritonKernel:
    """Attends with two Triton launches a layer.

    Args:
        num_multiprocessors: multiprocessors of the device.
    """

    capturable = True

    def __init__(self, num_multiprocessors: int) -> None:
        self._num_multiprocessors = num_multiprocessors

    @classmethod
    def on(cls, device: torch.device) -> "TritonKernel":
        """Return the kernel for a device."""
        if device.type != "cuda":
            return cls(1)
        return cls(torch.cuda.get_device_properties(device).multi_processor_count)

    def max_entries(self, kind: LayerKind) -> int:
        """Return the most entries of a task: as many as fit into the largest tile."""
        return most_rows(kind.head_dim) // kind.num_groups

    def wanted_tasks(self, kind: LayerKind) -> int:
        """Return the number of tasks that keeps all multiprocessors busy."""
        return TASKS_PER_MULTIPROCESSOR * self._num_multiprocessors // kind.num_kv_heads

    def begin(self, layer: LayerInput) -> "TritonCall":
        """Begin the attention of one layer."""
        return TritonCall(layer)


class TritonCall:
    """The launches of one layer, and the partial results between them.

    Args:
        layer: what it attends with.
    """

    def __init__(self, layer: LayerInput) -> None:
        q = layer.q
        self._layer = layer
        self._q = q if q.stride(-1) == 1 else q.contiguous()
        self._padded = triton.next_power_of_2(q.shape[-1])
        shape = (layer.tables.num_results, q.shape[0], q.shape[-1])
        self._out = torch.empty(shape, dtype=torch.float32, device=q.device)
        self._lse = torch.empty(shape[:2], dtype=torch.float32, device=q.device)

    def attend(self, tasks: Tensor) -> None:
        """Compute the partial results of some tasks."""
        if not len(tasks):
            return
        layer, q = self._layer, self._q
        keys, tables, num_groups, cap = layer.keys, layer.tables, layer.num_groups, layer.rule.cap
        attend_tasks[(len(tasks), keys.shape[0])](
            q, keys, layer.values, layer.cos, layer.sin,
            tables.tokens, tables.lows, tables.highs, tasks, self._out, self._lse,
            q.stride(0), q.stride(1), keys.stride(0), keys.stride(1), q.shape[0],
            layer.rule.scale * LOG2_E, (cap or 1.0) * LOG2_E,
            G=num_groups, D=q.shape[-1], D_PADDED=self._padded, ROTARY=layer.cos.shape[1],
            M=tile_rows(tables.widest * num_groups), N=tile_keys(q.shape[-1]),
            CAPPED=cap is not None, PRECISION="ieee", num_warps=4,
        )  # fmt: skip

    def merged(self) -> Tensor:
        """Return each token's merged partial results, ``[N, H * G, D]``."""
        num_heads, num_tokens, head_dim = self._q.shape
        tables = self._layer.tables
        out = torch.empty(
            (num_tokens, num_heads, head_dim), dtype=self._q.dtype, device=self._q.device
        )
        merge_parts[(num_tokens, num_heads)](
            self._out, self._lse, tables.parts, tables.part_starts, out, num_heads,
            D=head_dim, D_PADDED=self._padded, P=PARTS_AT_A_TIME, num_warps=2,
        )  # fmt: skip
        return out


def tile_keys(head_dim: int) -> int:
    """Return the keys of a tile for a head size."""
    return 64 if head_dim <= NARROW_HEAD else 32


def most_rows(head_dim: int) -> int:
    """Return the rows of the largest tile for a head size."""
    return MOST_ROWS if head_dim <= NARROW_HEAD else MOST_ROWS // 2


def tile_rows(rows: int) -> int:
    """Return the rows of the smallest tile that holds a number of query rows."""
    return max(LEAST_ROWS, int(triton.next_power_of_2(rows)))
