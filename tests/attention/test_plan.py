"""Who reads what: every visible key once for every token, every key once a step."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.plan import plan_attention
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ContextLimitError
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row
from tests.attention.packing import allocate_and_build
from tests.kvcache.integrity import check_integrity
from tests.kvcache.test_cache import new_cache

CPU = torch.device("cpu")


def step(
    lengths: list[int], new: list[int], visibility: Visibility
) -> tuple[KVCache, list[Row], Batch]:
    """Workers 0.. with `new` tokens each; block 0 is common, then one block a worker."""
    cache = new_cache(8_192)
    blocks = [cache.new_block(str(i)) for i in range(len(lengths))]
    for block, length in zip(blocks, lengths, strict=True):
        cache.extend(block, [9] * length)
        cache.commit(block, length)
    workers = blocks[1:]
    rows = [
        Row((blocks[0], *(b for b in workers if b is not own), own), (5,) * count)
        for own, count in zip(workers, new, strict=True)
        if count
    ]
    return cache, rows, allocate_and_build(cache, rows, visibility)


teams = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 90), min_size=n + 1, max_size=n + 1),
        st.lists(st.integers(0, 5), min_size=n, max_size=n).filter(any),
    )
)


@given(teams, st.sampled_from(Visibility), st.sampled_from([None, 1, 7, 40]))
def test_each_token_reads_each_visible_key_exactly_once(
    team: tuple[list[int], list[int]], visibility: Visibility, window: int | None
) -> None:
    _, rows, batch = step(*team, visibility)
    plan = plan_attention(batch, window, CPU)
    read: dict[int, Counter[int]] = {}
    for piece in plan.pieces:
        for entry in range(piece.first, piece.last):
            hidden = None if piece.hidden is None else piece.hidden[entry - piece.first]
            slots = range(piece.start, piece.stop)
            seen = [s for i, s in enumerate(slots) if hidden is None or not hidden[i]]
            read.setdefault(plan.tokens[entry], Counter()).update(seen)
    token = 0
    for row in rows:
        own_new = len(row.token_ids)
        added = {r.view[-1]: len(r.token_ids) for r in rows}
        for index in range(own_new):
            expected: list[int] = []
            for block in row.view:
                if block is row.view[-1]:
                    length = block.length - own_new + index + 1
                elif visibility is Visibility.SAME_STEP:
                    length = block.length
                else:
                    length = block.length - added.get(block, 0)
                expected += [s for a, b in block.spans(0, length) for s in range(a, b)]
            expected = expected if window is None else expected[-window:]
            assert read[token] == Counter(expected)
            token += 1


@given(teams, st.sampled_from(Visibility), st.sampled_from([None, 7]))
def test_no_key_is_in_two_pieces(
    team: tuple[list[int], list[int]], visibility: Visibility, window: int | None
) -> None:
    _, _, batch = step(*team, visibility)
    plan = plan_attention(batch, window, CPU)
    read = Counter(slot for piece in plan.pieces for slot in range(piece.start, piece.stop))
    assert set(read.values()) <= {1}


def test_distances_put_the_query_at_its_place_in_the_view() -> None:
    _, rows, batch = step([10, 4, 6], [1, 1], Visibility.SAME_STEP)
    plan = plan_attention(batch, None, CPU)
    turns = {
        (token, piece.start): plan.distances[piece.first + i]
        for piece in plan.pieces
        for i, token in enumerate(plan.tokens[piece.first : piece.last])
    }
    start = {block: block.extents[0].start for block in rows[0].view}
    common, bob, alice = rows[0].view
    # Alice's view: common 0..9, Bob 10..16, own 17..21; her query is at own position 4.
    assert turns[0, start[common]] == 17
    assert turns[0, start[bob]] == 7
    assert turns[0, start[alice]] == 0
    # Bob's view: common 0..9, Alice 10..14, own 15..21; his query is at own position 6.
    assert turns[1, start[common]] == 15
    assert turns[1, start[alice]] == 5


def test_a_step_that_does_not_fit_changes_nothing() -> None:
    cache = new_cache(256)
    blocks = [cache.new_block(str(i)) for i in range(2)]
    for block in blocks:
        cache.extend(block, [1] * 100)
    rows = [Row((blocks[0],), (1,) * 20), Row((blocks[1],), (1,) * 60)]
    with pytest.raises(ContextLimitError, match="KV cache is full"):
        allocate_and_build(cache, rows, Visibility.SAME_STEP)
    assert [block.length for block in blocks] == [100, 100]
    check_integrity(cache)
