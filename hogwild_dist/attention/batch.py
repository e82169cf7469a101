"""The packed tokens of one step, and who may read what: pure Python, no tensors.

Rows with different numbers of new tokens lie one after the other, without padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots


@dataclass(frozen=True, slots=True)
class Read:
    """One row reading one block: shapes are counted in tokens.

    The row's i-th new token may read block positions ``[0, length)``, or, where `causal`,
    ``[0, length - num_new + 1 + i)``.

    Attributes:
        row: index of the row.
        block: what is read.
        length: tokens of the block that the row sees in this step, its own new ones included.
        offset: position of the block's first token in the row's view.
        causal: whether this is the block that the row writes.
    """

    row: int
    block: Block
    length: int
    offset: int
    causal: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward.

    Attributes:
        token_ids: ``[num_tokens]``.
        positions: ``[num_tokens]``, block-local.
        slots: ``[num_tokens]`` slab slots that receive the new K and V.
        row_starts: first packed token of each row, and the total at the end: ``[num_rows + 1]``.
        view_lengths: tokens in each row's view, its new ones included: ``[num_rows]``.
        reads: all (row, block) pairs, grouped by block.
        arriving: blocks that peers write in this step, and their tokens before it.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    slots: tuple[int, ...]
    row_starts: tuple[int, ...]
    view_lengths: tuple[int, ...]
    reads: tuple[Read, ...]
    arriving: Mapping[Block, int] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Packed tokens."""
        return self.row_starts[-1]

    def seen_ids(self, row: int) -> list[int]:
        """All tokens that a row sees in this step, its own included."""
        reads = [read for read in self.reads if read.row == row]
        return [token for read in reads for token in read.block.token_ids[: read.length]]


def allocate_and_build(cache: KVCache, rows: Sequence[Row], visibility: Visibility) -> Batch:
    """Make room for the rows' tokens and lay out the forward.

    Raises:
        ContextLimitError: the cache is full; the blocks are as before.
    """
    return build_batch(rows, allocate_slots(cache, rows), visibility)


def build_batch(
    rows: Sequence[Row],
    slots: Sequence[Sequence[int]],
    visibility: Visibility,
    arriving: Sequence[Row] = (),
) -> Batch:
    """Lay out the forward of rows whose blocks have room for their new tokens.

    A row sees all of its own block. Of the others' it sees what is there under `same-step`, and
    what is committed under the visibilities that lag.

    Args:
        rows: what this process computes.
        slots: for each row, from `allocate_slots`.
        visibility: of the run.
        arriving: rows with room that peers compute.
    """
    positions = [
        position
        for row in rows
        for position in range(row.view[-1].length - len(row.token_ids), row.view[-1].length)
    ]
    reads: list[Read] = []
    view_lengths = []
    for index, row in enumerate(rows):
        offset = 0
        for block in row.view:
            own = block is row.view[-1]
            whole = own or visibility is Visibility.SAME_STEP
            length = block.length if whole else block.committed
            if length:
                reads.append(Read(index, block, length, offset, causal=own))
            offset += length
        view_lengths.append(offset)
    order = {block: place for place, block in enumerate(b for row in rows for b in row.view)}
    reads.sort(key=lambda read: order[read.block])
    return Batch(
        token_ids=tuple(token for row in rows for token in row.token_ids),
        positions=tuple(positions),
        slots=tuple(slot for own in slots for slot in own),
        row_starts=(0, *accumulate(len(row.token_ids) for row in rows)),
        view_lengths=tuple(view_lengths),
        reads=tuple(reads),
        arriving={row.view[-1]: row.view[-1].length - len(row.token_ids) for row in arriving},
    )
