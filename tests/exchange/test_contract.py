"""What every exchange keeps: the in-process one, and torch.distributed between real processes."""

import os
from dataclasses import dataclass

import pytest
import torch

from hogwild_dist.config import Visibility
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange.base import AgreedStep, Exchange, RowReport, StepPlan, StepReport
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.exchange.process_group import Membership
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.kvcache.cache import KVCache
from tests.exchange.forms import FORMS, channels
from tests.kvcache.test_cache import DIM, HEADS, LAYERS, new_cache
from tests.rank_pool import RankError, RankPool

pytestmark = pytest.mark.slow

CASES = {
    "one token each": [[1], [1], [1]],
    "ragged": [[3, 1], [7], [1, 1, 1]],
    "nobody has news": [[], [], []],
    "one rank has no workers": [[2], [], [1]],
    "one rank has all": [[], [2, 5, 1], []],
}


@dataclass(frozen=True, slots=True)
class Seen:
    agreements: list[AgreedStep]
    content: list[torch.Tensor]


def content(rank: int, row: int, step: int, count: int) -> torch.Tensor:
    """What a rank's row writes, different for each value."""
    generator = torch.Generator().manual_seed(1_000 * step + 10 * rank + row)
    shape = (LAYERS, 2, HEADS, count, DIM)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def steps_of(exchange: Exchange, cache: KVCache, rows: list[list[int]], num_steps: int) -> Seen:
    """Play some steps in which rank r's row i has ``rows[r][i]`` new tokens.

    In the in-process exchange the only rank computes every rank's rows.
    """
    world = exchange.world_size
    mine = range(len(rows)) if world == 1 else [exchange.rank]
    blocks = [[cache.new_block(f"{r}/{i}") for i in range(len(own))] for r, own in enumerate(rows)]
    agreements = []
    late: list[int] = []
    for step in range(num_steps):
        slots: list[list[int]] = [[] for _ in range(world)]
        for r, own in enumerate(rows):
            for i, count in enumerate(own):
                got = cache.extend(blocks[r][i], [0] * count)
                slots[r % world] += got
                if r in mine:
                    write(cache, got, content(r, i, step, count))
        counts = [
            sum(len(rows[r]) for r in range(len(rows)) if r % world == w) for w in range(world)
        ]
        exchange.begin(StepPlan(tuple(map(tuple, slots)), tuple(counts), (0,) * world))
        if exchange.visibility is Visibility.SAME_STEP:
            for layer in range(LAYERS):
                exchange.send_layer(layer)
                exchange.receive_layer(layer)
        reports = [RowReport(7, 10 * r + i, step) for r in mine for i in range(len(rows[r]))]
        if late and exchange.visibility is Visibility.OVERLAPPED:
            agreements.append(exchange.collect())
        exchange.post(StepReport(step, 5 + exchange.rank, 42, tuple(reports)))
        late.append(step)
        if exchange.visibility is not Visibility.OVERLAPPED:
            agreements.append(exchange.collect())
    if exchange.visibility is Visibility.OVERLAPPED:
        agreements.append(exchange.collect())
    return Seen(agreements, [read(cache, block) for own in blocks for block in own])


def write(cache: KVCache, slots: list[int], values: torch.Tensor) -> None:
    where = torch.tensor(slots, dtype=torch.long)
    for layer in range(LAYERS):
        cache.write(layer, where, values[layer, 0], values[layer, 1])


def read(cache: KVCache, block) -> torch.Tensor:
    slots = torch.tensor([s for span in block.spans(0, block.length) for s in range(*span)])
    pairs = [cache.read(layer, slots) for layer in range(LAYERS)]
    return torch.stack([torch.stack(pair) for pair in pairs])


def on_a_rank(place: Membership, rows: list[list[int]], visibility: Visibility, form: str) -> Seen:
    cache = new_cache(4_096)
    return steps_of(connect(place, cache, visibility, form), cache, rows, 3)


def connect(
    place: Membership, cache: KVCache, visibility: Visibility, form: str
) -> TorchDistExchange:
    return TorchDistExchange(channels(place, form), cache, visibility, place.epoch)


@pytest.mark.parametrize("kind", ["local", *FORMS])
@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("case", CASES)
def test_news_arrive_whole_and_in_one_order(
    kind: str, visibility: Visibility, case: str, ranks: RankPool
) -> None:
    rows = CASES[case]
    if kind == "local":
        cache = new_cache(4_096)
        everybody = [steps_of(LocalExchange(visibility), cache, rows, 3)]
    else:
        everybody = ranks.run(on_a_rank, 3, rows, visibility, kind)
    expected = [
        torch.cat([content(r, i, step, count) for step in range(3)], 3)
        for r, own in enumerate(rows)
        for i, count in enumerate(own)
    ]
    workers = [10 * r + i for r, own in enumerate(rows) for i in range(len(own))]
    for seen in everybody:
        assert [one.step for one in seen.agreements] == [0, 1, 2]
        assert [one.command for one in seen.agreements] == [5, 5, 5]
        for step, one in enumerate(seen.agreements):
            assert [(r.session, r.worker, r.token_id) for r in one.reports] == [
                (7, worker, step) for worker in workers
            ]
        assert all(map(torch.equal, seen.content, expected))
        assert len(seen.content) == len(expected)


def shared(place: Membership, home: int, form: str) -> torch.Tensor:
    cache = new_cache(4_096)
    exchange = connect(place, cache, Visibility.SAME_STEP, form)
    block = cache.new_block("common")
    slots = cache.extend(block, range(100))
    if place.rank == home:
        write(cache, slots, content(home, 0, 0, 100))
    sent: list[list[int]] = [[] for _ in range(place.world_size)]
    sent[home] = slots
    exchange.share(sent)
    return read(cache, block)


@pytest.mark.parametrize("form", FORMS)
def test_a_shared_block_reaches_everybody(form: str, ranks: RankPool) -> None:
    for home in range(3):
        for got in ranks.run(shared, 3, home, form):
            assert torch.equal(got, content(home, 0, 0, 100))


def counted(place: Membership, visibility: Visibility, form: str) -> tuple[int, int]:
    cache = new_cache(4_096)
    exchange = connect(place, cache, visibility, form)
    steps_of(exchange, cache, [[1], [1], [1]], 4)
    return exchange.counts.collectives, exchange.counts.bytes_sent


@pytest.mark.parametrize(
    ("visibility", "form", "collectives"),
    [
        (Visibility.SAME_STEP, "together", LAYERS + 1),
        (Visibility.NEXT_STEP, "together", 1),
        (Visibility.OVERLAPPED, "together", 1),
        (Visibility.SAME_STEP, "apart", LAYERS + 1),
        (Visibility.NEXT_STEP, "apart", 2),
        (Visibility.OVERLAPPED, "apart", 2),
    ],
)
def test_collectives_and_bytes_are_as_few_as_promised(
    visibility: Visibility, form: str, collectives: int, ranks: RankPool
) -> None:
    token = new_cache(64).token_bytes
    for calls, sent in ranks.run(counted, 3, visibility, form):
        assert calls == 4 * collectives
        assert sent == 4 * 2 * (token + 96), "new K and V once to each peer, and a header"


@pytest.mark.parametrize("form", FORMS)
def test_a_group_of_one_sends_nothing(form: str, ranks: RankPool) -> None:
    (seen,) = ranks.run(on_a_rank, 1, [[2]], Visibility.NEXT_STEP, form)
    assert len(seen.agreements) == 3


# Trouble


def lie(place: Membership, field: str, form: str) -> list[AgreedStep]:
    """Rank 1 says something else than the others expect."""
    epoch = place.epoch + (field == "epoch" and place.rank == 1)
    cache = new_cache(4_096)
    exchange = TorchDistExchange(channels(place, form), cache, Visibility.NEXT_STEP, epoch)
    block = [cache.new_block(str(r)) for r in range(place.world_size)]
    slots = [cache.extend(block[r], [0]) for r in range(place.world_size)]
    exchange.begin(StepPlan(tuple(map(tuple, slots)), (0, 0, 0), (0, 0, 0)))
    liar = place.rank == 1
    exchange.post(
        StepReport(3 + (liar and field == "step"), 0, 5 + (liar and field == "state"), ())
    )
    return [exchange.collect()]


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("epoch", "Shard 1 sent epoch"),
        ("step", "Shard 1 sent step 4, but 3 was expected"),
        ("state", "Shard 1 disagrees about the sessions before step 3"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_disagreement_says_who_sent_what(
    form: str, field: str, sentence: str, ranks: RankPool
) -> None:
    results = ranks.outcomes(lie, 3, field, form)
    for rank in (0, 2):
        assert isinstance(results[rank], RankError)
        assert sentence in str(results[rank])
    assert "Shard 0 " in str(results[1])


def stay_away(place: Membership, how: str, form: str) -> str:
    """Rank 1 does not come to the collective, or dies before it."""
    cache = new_cache(4_096)
    exchange = connect(place, cache, Visibility.NEXT_STEP, form)
    if place.rank == 1 and how == "dies":
        os._exit(9)
    exchange.begin(StepPlan(((), (), ()), (0, 0, 0), (0, 0, 0)))
    if place.rank == 1:
        return "away"
    exchange.post(StepReport(0, 0, 0, ()))
    try:
        exchange.collect()
    except ExchangeError as error:
        return str(error)
    return "agreed"


@pytest.mark.parametrize(("how", "timeout"), [("dies", 20.0), ("waits", 4.0)])
@pytest.mark.parametrize("form", FORMS)
def test_a_peer_that_does_not_come_is_an_error_in_time(
    form: str, how: str, timeout: float, mortal: RankPool
) -> None:
    results = mortal.outcomes(stay_away, 3, how, form, timeout=timeout)
    for rank in (0, 2):
        assert f"Shard {rank} lost its peers in epoch 1 at step 0" in results[rank]
