"""The packed tokens of one forward pass, and which row reads which block; no tensors.

Rows with different numbers of new tokens follow each other without padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.rows import Row


class Read(NamedTuple):
    """One row that reads one block; lengths and offsets count tokens.

    The row's i-th new token may read block positions ``[0, length)``, or
    ``[0, length - num_new + 1 + i)`` if `causal`.

    Attributes:
        row: index of the row.
        block: the block that is read.
        length: tokens of the block that the row sees in this step, including its own new ones.
        offset: position of the block's first token in the row's view.
        causal: whether the row writes this block.
    """

    row: int
    block: Block
    length: int
    offset: int
    causal: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """The input of one forward pass.

    Attributes:
        token_ids: ``[num_tokens]`` new tokens, row by row.
        positions: ``[num_tokens]`` block-local positions.
        slots: ``[num_tokens]`` slab slots that receive the new K and V.
        row_starts: ``[num_rows + 1]`` first packed token of each row, then the total.
        view_lengths: ``[num_rows]`` tokens in each row's view, including its new ones.
        reads: all (row, block) pairs, grouped by block.
        arriving: block that a peer writes in this step -> its length before the step.
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
        """Number of packed tokens."""
        return self.row_starts[-1]

    def seen_ids(self, row: int) -> list[int]:
        """Return all tokens that a row sees in this step, including its own."""
        reads = [read for read in self.reads if read.row == row]
        return [token for read in reads for token in read.block.token_ids[: read.length]]


def build_batch(
    rows: Sequence[Row],
    slots: Sequence[Sequence[int]],
    visibility: Visibility,
    arriving: Sequence[Row] = (),
) -> Batch:
    """Pack rows into one forward pass.

    A row sees all of its own block. Of other blocks it sees every token under `same-step`
    visibility, and the committed tokens otherwise.

    Args:
        rows: the rows that this process computes.
        slots: cache slots of each row's new tokens, from `allocate_slots`.
        visibility: when rows see the others' new tokens.
        arriving: the rows that peers compute in the same step.
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
