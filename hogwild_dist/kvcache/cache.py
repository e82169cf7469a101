"""The shared key-value cache: blocks of tokens, stored as contiguous extents of one slab a layer.

Keys of a block are stored as if the block began at position 0; the cache does not know where a
worker sees the block. Reading never copies: an extent is a slice of the slab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hogwild_dist.errors import ConfigError, ShardError, first_line
from hogwild_dist.kvcache.page_allocator import PageAllocator, ceil_div
from hogwild_dist.kvcache.rope import RotaryTables, rotate
from hogwild_dist.kvcache.slot_writer import SlotWriter, write_by_index

PAGE_TOKENS = 64
"""Tokens in a page; a small block, such as a separator, wastes at most one page."""


@dataclass(slots=True)
class Extent:
    """Slab slots ``start..start+length-1`` of one block; all extents but the last are full."""

    start: int
    length: int
    capacity: int


@dataclass(slots=True, eq=False)
class Block:
    """An append-only run of tokens: its ids, and the cache slots of its keys and values.

    Only `KVCache` changes a block.
    """

    name: str
    extents: list[Extent] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    committed: int = 0
    """Number of first tokens that every shard has; others see only these if visibility lags."""

    @property
    def length(self) -> int:
        """Number of tokens in the block."""
        return len(self.token_ids)

    def spans(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the slab slots of block positions ``begin..end-1`` as ranges ``(start, stop)``."""
        spans = []
        first = 0
        for extent in self.extents:
            low, high = max(begin, first), min(end, first + extent.length)
            if low < high:
                spans.append((extent.start + low - first, extent.start + high - first))
            first += extent.length
        return spans


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerShape:
    """Shape of one layer's keys and values."""

    num_kv_heads: int
    head_dim: int


class KVCache:
    """Keys and values of every block of every session.

    Each layer has one slab of keys and one of values, ``[num_kv_heads, num_slots, head_dim]``. On a
    CPU the operating system backs a slab with memory only where it has been written.

    Args:
        layers: shape of each layer.
        num_tokens: capacity in tokens, rounded up to whole pages.
        rotary: the model's rotary tables, which rotate keys when a block moves.
        dtype: dtype of keys and values.
        device: device of keys and values.
        slot_writer: copies new keys and values into slots.

    Raises:
        ConfigError: the device does not have enough memory.
    """

    STATE = ("blocks",)

    def __init__(
        self,
        *,
        layers: Sequence[LayerShape],
        num_tokens: int,
        rotary: RotaryTables,
        dtype: torch.dtype,
        device: torch.device,
        slot_writer: SlotWriter = write_by_index,
    ) -> None:
        num_pages = self.pages_of(num_tokens)
        self.rotary = rotary
        self.pages = PageAllocator(num_pages)
        self.blocks: set[Block] = set()
        self.changed: set[int] | None = None
        """Pages whose committed tokens have grown since this set was made; None counts nothing."""
        self._write_slots = slot_writer
        num_slots = (num_pages + 1) * PAGE_TOKENS  # the last page is never handed out
        self.scratch_slot = num_slots - 1
        """Slot that dummy tokens write to, and that nothing reads."""
        shapes = [(layer.num_kv_heads, num_slots, layer.head_dim) for layer in layers]
        try:
            self.keys = [torch.empty(shape, dtype=dtype, device=device) for shape in shapes]
            self.values = [torch.empty(shape, dtype=dtype, device=device) for shape in shapes]
        except RuntimeError as error:  # how PyTorch reports that memory is exhausted
            size = sum(2 * heads * slots * dim for heads, slots, dim in shapes) * dtype.itemsize
            raise ConfigError(
                f"A KV cache of {num_tokens} tokens takes {size / 2**30:.1f} GiB, which {device} "
                "does not have free; lower cache_tokens (--cache-tokens)."
            ) from error

    @property
    def token_bytes(self) -> int:
        """Bytes of K and V of one token, over all layers."""
        return sum(2 * k.shape[0] * k.shape[2] * k.element_size() for k in self.keys)

    @staticmethod
    def pages_of(count: int) -> int:
        """Return the number of pages of a block of `count` tokens."""
        return ceil_div(count, PAGE_TOKENS)

    def new_block(self, name: str) -> Block:
        """Make an empty block; it takes no page until it is written."""
        block = Block(name)
        self.blocks.add(block)
        return block

    def pages_wanted(self, block: Block, count: int) -> int:
        """Return the number of new pages that `count` more tokens in `block` would take."""
        spare = block.extents[-1].capacity - block.extents[-1].length if block.extents else 0
        return max(0, self.pages_of(count - spare))

    def extend(self, block: Block, token_ids: Sequence[int]) -> list[int]:
        """Append `token_ids` to `block` and allocate their slots.

        The caller then writes K and V of every layer into the slots.

        Returns:
            One slab slot for each token.

        Raises:
            ContextLimitError: the cache is full; the block is unchanged.
        """
        begin = block.length
        self._grow(block, len(token_ids))
        block.token_ids.extend(token_ids)
        return [slot for span in block.spans(begin, block.length) for slot in range(*span)]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store new keys and values of one layer.

        Args:
            layer: index of the layer.
            slots: ``[num_tokens]`` slab slots.
            keys: ``[num_kv_heads, num_tokens, head_dim]``, rotated at block-local positions.
            values: ``[num_kv_heads, num_tokens, head_dim]``.
        """
        self._write_slots(self.keys[layer], self.values[layer], slots, keys, values)

    def commit(self, block: Block, count: int) -> None:
        """Mark the next `count` tokens of `block` as present on every shard."""
        assert block.committed + count <= block.length, "only written tokens can be committed"
        if self.changed is not None:
            spans = block.spans(block.committed, block.committed + count)
            pages = (
                range(begin // PAGE_TOKENS, (end - 1) // PAGE_TOKENS + 1) for begin, end in spans
            )
            self.changed.update(page for run in pages for page in run)
        block.committed += count

    def read(self, layer: int, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return copies of keys and values, each ``[num_kv_heads, num_tokens, head_dim]``."""
        return self.keys[layer].index_select(1, slots), self.values[layer].index_select(1, slots)

    def read_pages(self, start: int, stop: int) -> Tensor:
        """Return a copy of the keys and values of pages ``start..stop-1``, as bytes on the CPU."""
        slots = slice(start * PAGE_TOKENS, stop * PAGE_TOKENS)
        slabs = (slab[:, slots].contiguous() for slab in (*self.keys, *self.values))
        return torch.cat([slab.view(torch.uint8).flatten() for slab in slabs]).cpu()

    def write_pages(self, start: int, stop: int, data: Tensor) -> None:
        """Store what `read_pages` returned for these pages of another cache of the same shape."""
        slots = slice(start * PAGE_TOKENS, stop * PAGE_TOKENS)
        parts = [slab[:, slots] for slab in (*self.keys, *self.values)]
        sizes = [part.numel() * part.element_size() for part in parts]
        for part, raw in zip(parts, torch.split(data, sizes), strict=True):
            part.copy_(raw.view(part.dtype).view(part.shape))

    def truncate(self, block: Block, length: int) -> None:
        """Cut `block` to its first `length` tokens and release the pages after them.

        Raises:
            ValueError: the block is shorter than `length`.
        """
        if not 0 <= length <= block.length:
            raise ValueError(
                f"Block {block.name!r} has {block.length} tokens and cannot be cut to {length}."
            )
        del block.token_ids[length:]
        block.committed = min(block.committed, length)
        kept = 0
        extents, block.extents = block.extents, []
        for extent in extents:
            extent.length = min(extent.length, length - kept)
            kept += extent.length
            used = self.pages_of(extent.length) * PAGE_TOKENS
            if used < extent.capacity:
                begin = extent.start + used
                self._release(begin, extent.start + extent.capacity)
                extent.capacity = used
            if extent.length:
                block.extents.append(extent)

    def free(self, block: Block) -> None:
        """Remove `block` and release its pages."""
        self.truncate(block, 0)
        self.blocks.remove(block)

    def append_from(self, target: Block, source: Block) -> int:
        """Move the content of `source` to the end of `target` and empty `source`.

        Values are copied unchanged; keys are rotated once, by the previous length of `target`. The
        tokens stay committed. This also works in a full cache, since the pages of `source` suffice.

        Returns:
            Number of tokens moved.

        Raises:
            ShardError: the device fails, which another shard's device need not.
        """
        assert source.committed == source.length, "only a committed block can move"
        try:
            return self._append_from(target, source)
        except RuntimeError as error:  # of PyTorch
            raise ShardError(
                f"A paragraph cannot be moved on {self.keys[0].device}: {first_line(error)}"
            ) from error

    def _append_from(self, target: Block, source: Block) -> int:
        count = source.length
        if count == 0:
            return 0
        rotated = self._read_rotated(source, target.length)
        ids = list(source.token_ids)
        self.truncate(source, 0)
        slots = torch.tensor(self.extend(target, ids), device=self.keys[0].device)
        for layer, (keys, values) in enumerate(rotated):
            self.write(layer, slots, keys, values)
        self.commit(target, count)
        return count

    def checksum(self, block: Block) -> int:
        """Return a number that is equal for copies of a block that agree bit for bit."""
        slots = self._slots(block)
        total = 0
        for slab in (*self.keys, *self.values):
            data = slab.index_select(1, slots).contiguous().view(torch.uint8).flatten().long()
            weights = torch.arange(1, data.numel() + 1, device=data.device) % 65_521
            total = (total * 31 + int((data * weights).sum())) % (1 << 61)
        return total

    def _grow(self, block: Block, count: int) -> None:
        last = block.extents[-1] if block.extents else None
        spare = min(count, last.capacity - last.length) if last else 0
        wanted = self.pages_of(count - spare)
        after = (last.start + last.capacity) // PAGE_TOKENS if last else None
        runs = self.pages.allocate(wanted, after) if wanted else []
        if last:
            last.length += spare
        rest = count - spare
        for start, stop in runs:
            capacity = (stop - start) * PAGE_TOKENS
            length = min(rest, capacity)
            rest -= length
            last = block.extents[-1] if block.extents else None
            if last and last.start + last.capacity == start * PAGE_TOKENS:
                last.length += length
                last.capacity += capacity
            else:
                block.extents.append(Extent(start * PAGE_TOKENS, length, capacity))

    def _release(self, begin: int, end: int) -> None:
        self.pages.release(begin // PAGE_TOKENS, end // PAGE_TOKENS)

    def _read_rotated(self, block: Block, shift: int) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's keys and values of a block, rotated to begin at `shift`."""
        slots = self._slots(block)
        distance = torch.full((block.length,), shift, device=slots.device)
        rotated = []
        for layer in range(len(self.keys)):
            keys, values = self.read(layer, slots)
            cos, sin = self.rotary.rotation(distance, layer, keys.dtype)
            rotated.append((rotate(keys, cos, sin), values))
        return rotated

    def _slots(self, block: Block) -> Tensor:
        spans = block.spans(0, block.length)
        device = self.keys[0].device
        parts = [torch.arange(start, stop, device=device) for start, stop in spans]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long, device=device)
