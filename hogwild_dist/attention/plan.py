"""The attention plan of a step: each visible key is read once, for all rows together.

Every query token that reads a block is an *entry* of that block. The keys that all entries see form
one dense piece; only the ragged ends (a row's own newest tokens, the edge of a sliding window) need
a mask. Each piece yields a partial result and its log-sum-exp; a token's partial results are then
merged. `kernel_calls` turns the pieces into kernel calls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from hogwild_dist.attention.batch import Batch, Read
from hogwild_dist.kvcache.cache import Block


class Entry(NamedTuple):
    """A query token, rotated by `distance`, that reads positions ``[low, high)`` of a block."""

    token: int
    distance: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries ``first..last-1`` that read slab slots ``start..stop-1``.

    Attributes:
        first: first entry.
        last: last entry plus one.
        start: first slab slot.
        stop: last slab slot plus one.
        hidden: ``[last - first, stop - start]`` booleans, true for keys that an entry may not
            see; None if every entry sees every key.
        from_peers: whether the keys arrive from peers during the step.
    """

    first: int
    last: int
    start: int
    stop: int
    hidden: Tensor | None
    from_peers: bool = False

    @property
    def num_entries(self) -> int:
        """Number of query tokens that read the piece."""
        return self.last - self.first

    @property
    def num_keys(self) -> int:
        """Number of keys in the piece."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """The reads of one attention layer in a step; layers with the same window share a plan.

    Attributes:
        tokens: ``[num_entries]`` packed query token of each entry.
        distances: ``[num_entries]`` rotation of each entry's query, in tokens, to fit the block.
        pieces: the keys that the entries read.
        num_tokens: number of packed tokens in the step.
    """

    tokens: tuple[int, ...]
    distances: tuple[int, ...]
    pieces: tuple[Piece, ...]
    num_tokens: int


def plan_attention(batch: Batch, window: int | None, device: torch.device) -> AttentionPlan:
    """Plan which entries read which keys in a step.

    Args:
        batch: the packed tokens of the step.
        window: sliding window in tokens of the worker's view, or None.
        device: device of the masks.
    """
    entries: list[Entry] = []
    pieces: list[Piece] = []
    for block, group in entries_by_block(batch, window):
        from_peers_at = batch.arriving.get(block)
        pieces.extend(_pieces(block, group, len(entries), from_peers_at, device))
        entries.extend(group)
    return AttentionPlan(
        tokens=tuple(entry.token for entry in entries),
        distances=tuple(entry.distance for entry in entries),
        pieces=tuple(pieces),
        num_tokens=batch.num_tokens,
    )


def entries_by_block(batch: Batch, window: int | None) -> Iterator[tuple[Block, list[Entry]]]:
    """Yield each block that is read, and its entries; those that write the block come last.

    Args:
        batch: the packed tokens of the step.
        window: sliding window in tokens of the worker's view, or None.
    """
    for block, reads in groupby(batch.reads, key=lambda read: read.block):
        own_last = sorted(reads, key=lambda read: read.causal)
        entries = [entry for read in own_last for entry in _entries(batch, read, window)]
        yield block, [entry for entry in entries if entry.low < entry.high]


def _entries(batch: Batch, read: Read, window: int | None) -> Iterator[Entry]:
    """Yield an entry for each new token of the reading row."""
    first, stop = batch.row_starts[read.row], batch.row_starts[read.row + 1]
    view_position = batch.view_lengths[read.row] - (stop - first)
    own_offset = view_position - batch.positions[first]
    for index, token in enumerate(range(first, stop)):
        oldest = 0 if window is None else view_position + index - window + 1
        yield Entry(
            token=token,
            distance=own_offset - read.offset,
            low=max(0, oldest - read.offset),
            high=batch.positions[token] + 1 if read.causal else read.length,
        )


def _pieces(
    block: Block, group: Sequence[Entry], base: int, from_peers_at: int | None, device: torch.device
) -> Iterator[Piece]:
    """Cut the keys that a block's entries see into a dense middle and masked ends.

    Keys from position `from_peers_at` on arrive from a peer and form pieces of their own.
    """
    if not group:
        return
    lows, highs = [e.low for e in group], [e.high for e in group]
    cuts = sorted({min(lows), max(lows), min(highs), max(highs)})
    if max(lows) >= min(highs):
        cuts = [min(lows), max(highs)]
    if from_peers_at is not None and cuts[0] < from_peers_at < cuts[-1]:
        cuts = sorted({*cuts, from_peers_at})
    for begin, end in pairwise(cuts):
        seeing = [i for i, e in enumerate(group) if e.low < end and begin < e.high]
        if not seeing:
            continue
        first, last = seeing[0], seeing[-1] + 1
        sub = group[first:last]
        dense = all(e.low <= begin and end <= e.high for e in sub)
        hidden = None if dense else _hidden(sub, begin, end, device)
        column = 0
        for start, stop in block.spans(begin, end):
            width = stop - start
            mask = None if hidden is None else hidden[:, column : column + width]
            from_peers = from_peers_at is not None and begin >= from_peers_at
            yield Piece(base + first, base + last, start, stop, mask, from_peers)
            column += width


def _hidden(entries: Sequence[Entry], begin: int, end: int, device: torch.device) -> Tensor:
    """Return ``[num_entries, end - begin]`` booleans, true for keys an entry may not see."""
    low = torch.tensor([e.low for e in entries], device=device)[:, None]
    high = torch.tensor([e.high for e in entries], device=device)[:, None]
    position = torch.arange(begin, end, device=device)[None]
    return (position < low) | (position >= high)
