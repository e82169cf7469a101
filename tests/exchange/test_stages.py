"""Stages: what a message holds, and which memory is used again when."""

import torch

from hogwild_dist.exchange import staging
from hogwild_dist.exchange.stages import Shape, Stage, StagePool
from tests.kvcache.test_cache import DIM, HEADS, LAYERS, new_cache

CPU = torch.device("cpu")
TOKEN = new_cache(64).token_bytes


def shape(*num_tokens: int, heads: tuple[int, ...] = (16, 0, 32)) -> Shape:
    return Shape(heads, num_tokens, range(LAYERS))


def new_pool(*peers: int) -> StagePool:
    return StagePool(new_cache(256), 1, peers, CPU)


def taken(pool: StagePool, of: Shape) -> Stage:
    stage = pool.take(of)
    assert stage is not None
    return stage


def test_a_stage_has_room_for_what_every_rank_sends() -> None:
    stage = taken(new_pool(0, 2), shape(3, 2, 5))
    assert stage.in_sizes == [2 * TOKEN, 0, 2 * TOKEN]
    assert stage.out_sizes == [16 + 3 * TOKEN, 0, 32 + 5 * TOKEN]
    assert len(stage.outgoing) == 4 * TOKEN
    assert len(stage.incoming) == 48 + 8 * TOKEN
    assert [len(head) for head in stage.heads] == [16, 0, 32]
    assert [len(parts) for parts in stage.parts] == [2 * LAYERS, 0, 2 * LAYERS]
    assert stage.parts[2][0].shape == (HEADS, 5, DIM)


def test_every_peer_gets_the_message_and_reads_the_same_values() -> None:
    cache = new_cache(256)
    for slab in (*cache.keys, *cache.values):
        slab.normal_()
    own = shape(0, 4, 0)
    sender = taken(StagePool(cache, 1, (0, 2), CPU), own)
    slots = torch.tensor([7, 3, 9, 30])
    staging.pack(cache, range(LAYERS), slots, sender.mine)
    sender.repeat_message()
    receiver = taken(StagePool(cache, 0, (1, 2), CPU), own)
    first, second = sender.outgoing.view(2, -1)
    assert torch.equal(first, second)
    receiver.incoming[: len(first)] = second
    for slab, part in zip(
        (s for pair in zip(cache.keys, cache.values, strict=True) for s in pair),
        receiver.parts[1],
        strict=True,
    ):
        assert torch.equal(part, slab[:, slots])


def test_a_shorter_header_leaves_nothing_of_a_longer_one() -> None:
    pool = StagePool(new_cache(256), 1, (0, 2), CPU)
    of = Shape((16, 16, 16), (0, 0, 0), range(0))
    stage = taken(pool, of)
    stage.write_header(b"x" * 16, 16)
    pool.give_back(stage)
    again = taken(pool, of)
    assert again is stage
    again.write_header(b"short", 16)
    assert bytes(again.message.tolist()) == b"short" + bytes(11)


def test_memory_is_used_again_and_grows_only_when_it_must() -> None:
    pool = new_pool(0, 2)
    stage = taken(pool, shape(3, 2, 5))
    at = stage.incoming.data_ptr()
    pool.give_back(stage)
    smaller = taken(pool, shape(1, 1, 1))
    assert smaller.incoming.data_ptr() == at
    pool.give_back(smaller)
    larger = taken(pool, shape(9, 9, 9))
    assert len(larger.incoming) == 48 + 18 * TOKEN


def test_a_stage_in_flight_is_never_handed_out() -> None:
    pool = new_pool(0, 2)
    first, second = taken(pool, shape(1, 1, 1)), taken(pool, shape(1, 1, 1))
    assert first.incoming.data_ptr() != second.incoming.data_ptr()
    assert first.outgoing.data_ptr() != second.outgoing.data_ptr()
    pool.give_back(second)
    assert taken(pool, shape(1, 1, 1)) is second


def test_nothing_to_exchange_needs_no_stage() -> None:
    assert new_pool().take(shape(1, 1, 1)) is None
    assert new_pool(0, 2).take(shape(0, 0, 0, heads=(0, 0, 0))) is None
    assert new_pool(0, 2).take(Shape((0, 0, 0), (1, 1, 1), range(0))) is None


def test_a_rank_can_be_its_own_peer() -> None:
    stage = taken(new_pool(1), shape(3, 2, 5))
    assert stage.in_sizes == stage.out_sizes == [0, 2 * TOKEN, 0]
    assert [len(parts) for parts in stage.parts] == [0, 2 * LAYERS, 0]
