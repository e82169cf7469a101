"""The tables of a step as tensors, and where a forward pass takes them from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.tables.kernel import LayerKind, TableKernel
from hogwild_dist.attention.tables.step_tables import (
    TASK_FIELDS,
    StepTables,
    build_tables,
    chunk_size,
)
from hogwild_dist.kvcache.upload import upload

FIELDS = (
    "tokens",
    "distances",
    "lows",
    "highs",
    "local_tasks",
    "peer_tasks",
    "parts",
    "part_starts",
)
"""The lists of `StepTables` that a device needs."""


@dataclass(frozen=True, slots=True)
class DeviceTables:
    """`StepTables` on a device, as int32. They may be longer than a step needs.

    Attributes:
        tokens: ``[num_entries]``; so are `distances`, `lows` and `highs`.
        local_tasks: ``[num_local_tasks, TASK_FIELDS]``; a task without keys is empty.
        peer_tasks: ``[num_peer_tasks, TASK_FIELDS]``, likewise.
        parts: ``[num_parts]``.
        part_starts: ``[num_tokens + 1]``.
        num_results: upper bound of the number of partial results.
        widest: upper bound of the entries of a task.
    """

    tokens: Tensor
    distances: Tensor
    lows: Tensor
    highs: Tensor
    local_tasks: Tensor
    peer_tasks: Tensor
    parts: Tensor
    part_starts: Tensor
    num_results: int
    widest: int

    @classmethod
    def of(cls, fields: Mapping[str, Tensor], num_results: int, widest: int) -> "DeviceTables":
        """Return tables of flat tensors.

        Args:
            fields: a tensor of one dimension for each of `FIELDS`.
            num_results: upper bound of the number of partial results.
            widest: upper bound of the entries of a task.
        """
        shaped = {
            name: field.view(-1, TASK_FIELDS) if name.endswith("tasks") else field
            for name, field in fields.items()
        }
        return cls(**shaped, num_results=num_results, widest=widest)


def build(batch: Batch, kind: LayerKind, kernel: TableKernel) -> StepTables:
    """Return the tables of a step for a kind of layer, cut to what a kernel likes.

    Args:
        batch: the packed tokens of the step.
        kind: the kind of layer.
        kernel: the kernel.
    """
    max_entries = kernel.max_entries(kind)
    chunk = chunk_size(batch, max_entries, kernel.wanted_tasks(kind))
    return build_tables(batch, kind.window, chunk, max_entries)


class BatchTables:
    """The tables of one forward pass, built and copied to the device when a layer asks for them.

    Args:
        batch: the packed tokens.
        kernel: the kernel that reads them.
        device: device of the tables.
    """

    def __init__(self, batch: Batch, kernel: TableKernel, device: torch.device) -> None:
        self._batch = batch
        self._kernel = kernel
        self._device = device
        self._known: dict[LayerKind, DeviceTables] = {}

    def get(self, kind: LayerKind) -> DeviceTables:
        """Return the tables for layers of a kind."""
        if kind not in self._known:
            host = build(self._batch, kind, self._kernel)
            fields = upload([getattr(host, name) for name in FIELDS], torch.int32, self._device)
            self._known[kind] = DeviceTables.of(
                dict(zip(FIELDS, fields, strict=True)), host.num_results, host.widest
            )
        return self._known[kind]
