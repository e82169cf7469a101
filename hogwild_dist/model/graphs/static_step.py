"""`StaticStep`: a decode step of a fixed size, whose inputs lie in one arena."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.layer import StepContext
from hogwild_dist.attention.tables.device_tables import FIELDS, DeviceTables
from hogwild_dist.attention.tables.kernel import LayerKind, TableKernel
from hogwild_dist.attention.tables.step_tables import StepTables
from hogwild_dist.attention.tables.table_attention import TableAttention
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.model.forward import forward
from hogwild_dist.model.graphs.arena import Arena
from hogwild_dist.model.graphs.captured_pass import Capture
from hogwild_dist.model.graphs.step_size import StepSize
from hogwild_dist.model.loaded_model import LoadedModel

INPUTS = ("token_ids", "positions", "slots", "last_of_rows")
"""What a forward pass reads besides the tables: one number for each token, or for each row."""


@dataclass(frozen=True, slots=True)
class DecodeModel:
    """A model, the cache that it reads, and how it attends.

    Attributes:
        model: the model.
        cache: holds the blocks.
        kernel: attends as tables say.
        kinds: the kinds of layers of the model.
    """

    model: LoadedModel
    cache: KVCache
    kernel: TableKernel
    kinds: tuple[LayerKind, ...]

    @classmethod
    def of(cls, model: LoadedModel, cache: KVCache, kernel: TableKernel) -> "DecodeModel":
        """Find the kinds of layers of a model by a forward pass, and describe it."""
        return cls(model, cache, kernel, find_kinds(model, cache, kernel))


class StaticStep:
    """Runs decode steps of up to a fixed size from fixed buffers.

    Tokens that a step does not use are dummies: they write to the cache's scratch slot and attend
    to nothing.

    Args:
        decode: the model, and how it attends.
        size: size of the buffers.
        capture: captures the forward pass.
    """

    def __init__(self, decode: DecodeModel, size: StepSize, capture: Capture) -> None:
        self._decode = decode
        self._size = size
        lengths = dict.fromkeys(INPUTS, size.tokens)
        for index in range(len(decode.kinds)):
            for field, length in size.lengths().items():
                lengths[_field(index, field)] = length
        self._arena = Arena(lengths, decode.model.device)
        self._fill_with_dummies()
        self._pass = capture(self._forward)

    def run(self, batch: Batch, tables: Mapping[LayerKind, StepTables]) -> Tensor:
        """Run a step.

        Args:
            batch: the packed tokens.
            tables: the tables of the step, for each kind of layer; they must fit.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``.
        """
        rows: dict[str, list[int]] = {
            "token_ids": list(batch.token_ids),
            "positions": list(batch.positions),
            "slots": list(batch.slots),
            "last_of_rows": [stop - 1 for stop in batch.row_starts[1:]],
        }
        padding = {"slots": self._decode.cache.scratch_slot}
        for index, kind in enumerate(self._decode.kinds):
            for field in FIELDS:
                rows[_field(index, field)] = getattr(tables[kind], field)
            padding[_field(index, "part_starts")] = tables[kind].part_starts[-1]
        self._arena.fill(rows, padding)
        num_rows = len(rows["last_of_rows"])
        return self._pass.run()[:num_rows].clone()

    def _forward(self, peers: LayerExchange | None) -> Tensor:
        """Run the model from the buffers; what they hold may change between repetitions."""
        inputs = [self._arena.fields[name].long() for name in INPUTS]
        token_ids, positions, slots, last_of_rows = inputs
        attention = TableAttention(
            self._decode.cache, self._decode.kernel, _ArenaTables(self._tables())
        )
        context = StepContext(self._decode.cache, slots, attention, peers)
        return forward(self._decode.model.hf_model, token_ids, positions, last_of_rows, context)

    def _tables(self) -> dict[LayerKind, DeviceTables]:
        """Return the tables in the buffers."""
        return {
            kind: DeviceTables.of(
                {field: self._arena.fields[_field(index, field)] for field in FIELDS},
                num_results=self._size.results,
                widest=min(self._size.tokens, self._decode.kernel.max_entries(kind)),
            )
            for index, kind in enumerate(self._decode.kinds)
        }

    def _fill_with_dummies(self) -> None:
        """Let every token be a dummy, for the passes before a capture."""
        self._arena.fill(
            {name: [] for name in self._arena.fields}, {"slots": self._decode.cache.scratch_slot}
        )


@dataclass(frozen=True, slots=True)
class _ArenaTables:
    """The tables of a forward pass in an arena."""

    known: Mapping[LayerKind, DeviceTables]

    def get(self, kind: LayerKind) -> DeviceTables:
        """Return the tables for layers of a kind."""
        return self.known[kind]


@torch.inference_mode()
def find_kinds(model: LoadedModel, cache: KVCache, kernel: TableKernel) -> tuple[LayerKind, ...]:
    """Return the kinds of layers of a model, in the order in which a forward pass meets them.

    The pass has one dummy token, which attends to nothing.

    Args:
        model: the model.
        cache: holds the blocks.
        kernel: attends as tables say.
    """
    found = _EmptyTables(model.device)
    attention = TableAttention(cache, kernel, found)
    zero = torch.zeros(1, dtype=torch.int64, device=model.device)
    context = StepContext(cache, zero + cache.scratch_slot, attention)
    forward(model.hf_model, zero, zero, zero, context)
    return tuple(found.known)


class _EmptyTables:
    """Tables without tasks for one token; they note the kinds of layers that ask for them."""

    def __init__(self, device: torch.device) -> None:
        self.known: dict[LayerKind, DeviceTables] = {}
        self._device = device

    def get(self, kind: LayerKind) -> DeviceTables:
        """Return empty tables."""
        if kind not in self.known:
            lengths = StepSize(1, 1).lengths()
            fields = {
                name: torch.zeros(length, dtype=torch.int32, device=self._device)
                for name, length in lengths.items()
            }
            self.known[kind] = DeviceTables.of(fields, num_results=1, widest=1)
        return self.known[kind]


def _field(index: int, name: str) -> str:
    """Return the name of a table's field in the arena."""
    return f"{name} of layers {index}"
