"""Kernel calls read what the plan's pieces say, however they are put together."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.attention.kernel_calls import SMALL_NUMBERS, SPARE_KEYS, Call, kernel_calls
from hogwild_dist.attention.plan import AttentionPlan, plan_attention
from hogwild_dist.config import Visibility
from tests.attention.test_plan import CPU, step, teams

DTYPE = torch.float64
SHAPES = [(2, 3, 8), (64, 1, 64), (32, 2, 32)]
"""Of which nearly all pieces are small, hardly any, and some."""


def numbers(which: torch.Tensor | slice) -> list[int]:
    if isinstance(which, slice):
        return list(range(which.start, which.stop))
    return which.tolist()


def reads(call: Call, num_groups: int) -> list[tuple[int, list[int]]]:
    """Each entry of a call, and the slots that it sees."""
    entries, slots = numbers(call.entries), numbers(call.slots)
    num_entries, num_keys = len(entries) // call.pieces, len(slots) // call.pieces
    found = []
    for place, entry in enumerate(entries):
        piece, at = divmod(place, num_entries)
        seen = slots[piece * num_keys : (piece + 1) * num_keys]
        if call.mask is not None:
            rows = call.mask.expand(call.pieces, 1, num_entries * num_groups, num_keys)[piece, 0]
            mine = rows[at * num_groups : (at + 1) * num_groups]
            assert (mine == mine[0]).all()
            seen = [slot for slot, added in zip(seen, mine[0].tolist(), strict=True) if added == 0]
        found.append((entry, seen))
    return found


@given(teams, st.sampled_from(Visibility), st.sampled_from([None, 7]), st.sampled_from(SHAPES))
def test_every_token_finds_the_results_of_all_that_it_reads(
    team: tuple[list[int], list[int]],
    visibility: Visibility,
    window: int | None,
    shape: tuple[int, int, int],
) -> None:
    _, _, batch = step(*team, visibility)
    plan = plan_attention(batch, window, CPU)
    kernel = kernel_calls(plan, shape, DTYPE, CPU)
    results = [one for call in kernel.calls for one in reads(call, shape[1])]
    found: dict[int, Counter[int]] = {}
    for token, row in enumerate(kernel.parts.tolist()):
        for place, part in enumerate(row):
            if kernel.no_part is None or not kernel.no_part[token, place]:
                entry, seen = results[part]
                assert plan.tokens[entry] == token
                found.setdefault(token, Counter()).update(seen)
    assert found == expected(plan)


def expected(plan: AttentionPlan) -> dict[int, Counter[int]]:
    """Token -> the slots that it sees, from the pieces."""
    seen: dict[int, Counter[int]] = {}
    for piece in plan.pieces:
        for at, token in enumerate(plan.tokens[piece.first : piece.last]):
            slots = range(piece.start, piece.stop)
            if piece.hidden is not None:
                hidden = piece.hidden[at].tolist()
                slots = [slot for slot, out in zip(slots, hidden, strict=True) if not out]
            seen.setdefault(token, Counter()).update(slots)
    return seen


@given(teams, st.sampled_from(SHAPES))
def test_large_pieces_are_read_where_they_are(
    team: tuple[list[int], list[int]], shape: tuple[int, int, int]
) -> None:
    _, _, batch = step(*team, Visibility.SAME_STEP)
    plan = plan_attention(batch, None, CPU)
    kernel = kernel_calls(plan, shape, DTYPE, CPU)
    gathered = [call for call in kernel.calls if call.pieces > 1]
    small = SMALL_NUMBERS // (shape[0] * shape[2])
    for call in gathered:
        widths = [
            len(set(slots)) for slots in torch.as_tensor(call.slots).view(call.pieces, -1).tolist()
        ]
        assert max(widths) <= small
        assert sum(max(widths) - width for width in widths) <= SPARE_KEYS
    alone = {call.slots.start for call in kernel.calls if isinstance(call.slots, slice)}
    assert {piece.start for piece in plan.pieces if piece.num_keys > small} <= alone


@pytest.mark.parametrize("num_workers", [2, 16])
def test_small_blocks_are_read_by_few_calls(num_workers: int) -> None:
    _, _, batch = step([200] + [20] * num_workers, [1] * num_workers, Visibility.SAME_STEP)
    kernel = kernel_calls(plan_attention(batch, None, CPU), (3, 3, 64), DTYPE, CPU)
    assert sorted(call.pieces for call in kernel.calls) == [1, num_workers]
