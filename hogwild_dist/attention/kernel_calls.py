"""Kernel calls for the pieces of a plan: small pieces share a call, large ones have their own.

A kernel call costs about as much as reading a few hundred keys, and a step of many teams has many
small blocks. Their keys are gathered and padded, so that one call computes them all.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.attention.plan import AttentionPlan, Piece

SMALL_NUMBERS = 32_768
"""Most elements in the keys of a gathered piece; copying more costs more than a call."""

SMALL_ENTRIES = 16
"""Most entries of a gathered piece."""

SPARE_KEYS = 256
"""Most padding keys in a call; more padding costs more than another call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel call for pieces padded to the same number of entries and keys.

    Attributes:
        pieces: number of pieces.
        entries: ``[pieces * num_entries]`` entries, piece by piece.
        slots: ``[pieces * num_keys]`` slab slots of the keys, piece by piece.
        mask: ``[pieces, 1, num_entries * num_groups or 1, num_keys]``, added to the scores; None
            if every entry sees every key.
        from_peers: whether the keys arrive from peers during the step.
    """

    pieces: int
    entries: Tensor | slice
    slots: Tensor | slice
    mask: Tensor | None
    from_peers: bool

    def queries(self, q_HEGD: Tensor) -> Tensor:
        """Return the queries of the call, ``[pieces, H, num_entries * G, D]``."""
        return self._split(_select(q_HEGD, self.entries).flatten(1, 2))

    def keys(self, slab: Tensor) -> Tensor:
        """Return the call's keys or values from a slab ``[H, num_slots, D]``.

        Returns:
            ``[pieces, H, num_keys, D]``.
        """
        return self._split(_select(slab, self.slots))

    def _split(self, rows: Tensor) -> Tensor:
        num_heads, _, head_dim = rows.shape
        return rows.view(num_heads, self.pieces, -1, head_dim).transpose(0, 1)


@dataclass(frozen=True, slots=True)
class KernelCalls:
    """All kernel calls of an attention layer, and the results that belong to each token.

    Attributes:
        calls: the calls; their order does not matter.
        parts: ``[num_tokens, max_parts]`` places in the calls' concatenated results.
        no_part: ``[num_tokens, max_parts]`` booleans, true for places that a token does not use;
            None if all tokens have the same number of parts.
    """

    calls: tuple[Call, ...]
    parts: Tensor
    no_part: Tensor | None


def kernel_calls(
    plan: AttentionPlan, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> KernelCalls:
    """Return the kernel calls for a plan.

    Args:
        plan: the attention plan of the layer.
        shape: number of key-value heads, query heads for each key-value head, and head size.
        dtype: dtype of queries and masks.
        device: device of the tensors.
    """
    num_heads, num_groups, head_dim = shape
    calls: list[Call] = []
    parts: list[list[int]] = [[] for _ in range(plan.num_tokens)]
    row = 0
    for pieces in _together(plan.pieces, SMALL_NUMBERS // (num_heads * head_dim)):
        most = max(piece.num_entries for piece in pieces)
        for piece in pieces:
            for at, token in enumerate(plan.tokens[piece.first : piece.last]):
                parts[token].append(row + at)
            row += most
        calls.append(_call(pieces, num_groups, dtype, device))
    most = max(map(len, parts))
    index = torch.tensor([part + [-1] * (most - len(part)) for part in parts], device=device)
    ragged = any(len(part) < most for part in parts)
    return KernelCalls(tuple(calls), index.clamp(min=0), index < 0 if ragged else None)


def _together(pieces: Sequence[Piece], small_keys: int) -> Iterator[Sequence[Piece]]:
    """Yield the pieces of each call."""
    small: dict[bool, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.num_keys <= small_keys and piece.num_entries <= SMALL_ENTRIES:
            small[piece.from_peers].append(piece)
        else:
            yield [piece]
    for alike in small.values():
        alike.sort(key=lambda piece: piece.num_keys, reverse=True)
        group: list[Piece] = []
        spare = 0
        for piece in alike:
            wide = group[0].num_keys if group else piece.num_keys
            spare += wide - piece.num_keys
            if spare > SPARE_KEYS:
                yield group
                group, spare = [], 0
            group.append(piece)
        yield group


def _call(
    pieces: Sequence[Piece], num_groups: int, dtype: torch.dtype, device: torch.device
) -> Call:
    if len(pieces) == 1:
        return _alone(pieces[0], num_groups, dtype)
    entries, _ = _padded([(piece.first, piece.last) for piece in pieces], device)
    slots, padding = _padded([(piece.start, piece.stop) for piece in pieces], device)
    hidden = padding[:, None]
    if any(piece.hidden is not None for piece in pieces):
        hidden = hidden.repeat(1, entries.shape[1], 1)
        for place, piece in enumerate(pieces):
            if piece.hidden is not None:
                hidden[place, : piece.num_entries, : piece.num_keys] |= piece.hidden
    mask = _additive(hidden, num_groups if hidden.shape[1] > 1 else 1, dtype)[:, None]
    return Call(len(pieces), entries.flatten(), slots.flatten(), mask, pieces[0].from_peers)


def _alone(piece: Piece, num_groups: int, dtype: torch.dtype) -> Call:
    """Return a call that reads the keys of one piece in place."""
    mask = None
    if piece.hidden is not None:
        mask = _additive(piece.hidden, num_groups, dtype)[None, None]
    entries, slots = slice(piece.first, piece.last), slice(piece.start, piece.stop)
    return Call(1, entries, slots, mask, piece.from_peers)


def _padded(ranges: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ranges as rows padded with their last number, and a mask of the padding."""
    starts, stops = torch.tensor(ranges, device=device).T[:, :, None]
    widest = max(stop - start for start, stop in ranges)
    numbers = starts + torch.arange(widest, device=device)
    return numbers.minimum(stops - 1), numbers >= stops


def _additive(hidden: Tensor, num_groups: int, dtype: torch.dtype) -> Tensor:
    """Return a finite mask, so that a row that sees no key gets weight zero and not NaN."""
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    mask.masked_fill_(hidden, torch.finfo(dtype).min / 2)
    return mask.repeat_interleave(num_groups, -2) if num_groups > 1 else mask


def _select(rows: Tensor, which: Tensor | slice) -> Tensor:
    return rows[:, which] if isinstance(which, slice) else rows.index_select(1, which)
