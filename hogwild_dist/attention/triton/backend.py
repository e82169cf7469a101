"""`TritonBackend`: one attention launch and one merge a layer, for all rows of all sessions.

Each K and V is read once for up to `MOST_ROWS` query rows, the queries are rotated inside the
kernel, and partial results are merged in float32.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from hogwild_dist.attention.backend import AttentionNeeds, ScoreRule
from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.rotations import StepRotations
from hogwild_dist.attention.triton.kernels import attend_tasks, merge_parts
from hogwild_dist.attention.triton.tables import (
    TASK_FIELDS,
    StepTables,
    build_tables,
    chunk_size,
)
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.upload import upload

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


@dataclass(frozen=True, slots=True)
class _DeviceTables:
    """`StepTables` on the device.

    Attributes:
        tokens: ``[num_entries]`` int32; so are `distances`, `lows` and `highs`.
        tasks: ``[num_tasks, TASK_FIELDS]`` int32.
        parts: int32, as in `StepTables`; so is `part_starts`.
        host: the tables on the host.
    """

    tokens: Tensor
    distances: Tensor
    lows: Tensor
    highs: Tensor
    tasks: Tensor
    parts: Tensor
    part_starts: Tensor
    host: StepTables


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


class TritonBackend:
    """Attends with two Triton launches a layer.

    Args:
        device: device of the cache.
    """

    def __init__(self, device: torch.device) -> None:
        self.num_multiprocessors = (
            torch.cuda.get_device_properties(device).multi_processor_count
            if device.type == "cuda"
            else 1
        )

    def begin(self, cache: KVCache, batch: Batch) -> "TritonAttention":
        """Return the attention of one forward pass."""
        return TritonAttention(cache, batch, self.num_multiprocessors)


class TritonAttention:
    """The attention of one forward pass.

    Args:
        cache: holds the blocks.
        batch: the packed tokens.
        num_multiprocessors: multiprocessors of the device.
    """

    def __init__(self, cache: KVCache, batch: Batch, num_multiprocessors: int) -> None:
        self._cache = cache
        self._batch = batch
        self._num_multiprocessors = num_multiprocessors
        self._device = cache.keys[0].device
        self._tables: dict[tuple[int | None, int, int], _DeviceTables] = {}
        self._rotations = StepRotations(cache.rotary)

    def attend(
        self, layer: int, q: Tensor, rule: ScoreRule, peers: Exchange | None = None
    ) -> Tensor:
        """Attend from every row to its whole view; see `StepAttention.attend`."""
        num_kv_heads = self._cache.keys[layer].shape[0]
        q = q if q.stride(-1) == 1 else q.contiguous()
        tables = self._tables_for(rule.window, num_kv_heads, q.shape[0] // num_kv_heads)
        rotation = self._rotations.get(rule.window, tables.distances, layer, torch.float32)
        slabs = self._cache.keys[layer], self._cache.values[layer]
        call = _Call(slabs, q, rotation, rule, tables)
        local = tables.host.num_local_tasks
        call.attend(tables.tasks[:local])
        if peers is not None:
            peers.receive_layer(layer)
            call.attend(tables.tasks[local:])
        return call.merged()

    def _tables_for(self, window: int | None, num_kv_heads: int, num_groups: int) -> _DeviceTables:
        """Return the tables for layers with this sliding window and shape."""
        key = (window, num_kv_heads, num_groups)
        if key not in self._tables:
            max_entries = most_rows(self._cache.keys[0].shape[2]) // num_groups
            wanted = TASKS_PER_MULTIPROCESSOR * self._num_multiprocessors // num_kv_heads
            chunk = chunk_size(self._batch, max_entries, wanted)
            host = build_tables(self._batch, window, chunk, max_entries)
            self._tables[key] = _upload(host, self._device)
        return self._tables[key]


class _Call:
    """The launches of one layer, and the partial results between them.

    Args:
        slabs: keys and values of the layer, each ``[H, num_slots, D]``.
        q: ``[H * G, N, D]`` queries, rotated at block-local positions.
        rotation: cosines and sines for each entry, ``[num_entries, rotary_dim]`` float32.
        rule: how the layer scores keys.
        tables: the tables of the step.
    """

    def __init__(
        self,
        slabs: tuple[Tensor, Tensor],
        q: Tensor,
        rotation: tuple[Tensor, Tensor],
        rule: ScoreRule,
        tables: _DeviceTables,
    ) -> None:
        self._keys, self._values = slabs
        self._q = q
        self._cos, self._sin = rotation
        self._rule = rule
        self._tables = tables
        self._padded = triton.next_power_of_2(q.shape[-1])
        shape = (tables.host.num_results, q.shape[0], q.shape[-1])
        self._out = torch.empty(shape, dtype=torch.float32, device=q.device)
        self._lse = torch.empty(shape[:2], dtype=torch.float32, device=q.device)

    def attend(self, tasks: Tensor) -> None:
        """Compute the partial results of some tasks."""
        if not len(tasks):
            return
        q, keys, tables = self._q, self._keys, self._tables
        num_groups = q.shape[0] // keys.shape[0]
        cap = self._rule.cap
        attend_tasks[(len(tasks), keys.shape[0])](
            q, keys, self._values, self._cos, self._sin,
            tables.tokens, tables.lows, tables.highs, tasks, self._out, self._lse,
            q.stride(0), q.stride(1), keys.stride(0), keys.stride(1), q.shape[0],
            self._rule.scale * LOG2_E, (cap or 1.0) * LOG2_E,
            G=num_groups, D=q.shape[-1], D_PADDED=self._padded, ROTARY=self._cos.shape[1],
            M=tile_rows(tables.host.widest * num_groups), N=tile_keys(q.shape[-1]),
            CAPPED=cap is not None, PRECISION="ieee", num_warps=4,
        )  # fmt: skip

    def merged(self) -> Tensor:
        """Return each token's merged parts, ``[N, H * G, D]``."""
        num_heads, num_tokens, head_dim = self._q.shape
        out = torch.empty(
            (num_tokens, num_heads, head_dim), dtype=self._q.dtype, device=self._q.device
        )
        merge_parts[(num_tokens, num_heads)](
            self._out, self._lse, self._tables.parts, self._tables.part_starts, out, num_heads,
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


def _upload(host: StepTables, device: torch.device) -> _DeviceTables:
    """Copy the tables to the device at once."""
    entries = (host.tokens, host.distances, host.lows, host.highs)
    fields = (*entries, host.tasks, host.parts, host.part_starts)
    tokens, distances, lows, highs, tasks, parts, part_starts = upload(fields, torch.int32, device)
    return _DeviceTables(
        tokens=tokens,
        distances=distances,
        lows=lows,
        highs=highs,
        tasks=tasks.view(-1, TASK_FIELDS),
        parts=parts,
        part_starts=part_starts,
        host=host,
    )
