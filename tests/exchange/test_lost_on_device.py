"""Lost peers where waiting does not block the host: it keeps time, aborts, and unpacks nothing."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest
import torch

from hogwild_dist.config import Visibility
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange.base import StepPlan, StepReport
from hogwild_dist.exchange.bounded import within
from hogwild_dist.exchange.collectives import MOST_AHEAD, Collectives, ExchangeCounts
from hogwild_dist.exchange.process_group import Membership, serve_store
from hogwild_dist.exchange.stages import Shape, StagePool
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.timeline import Timeline
from tests.exchange.forms import CPU, DeviceGroup, device_channels
from tests.exchange.test_contract import Seen, steps_of
from tests.kvcache.test_cache import LAYERS, new_cache
from tests.rank_pool import HOST, RankPool

pytestmark = pytest.mark.slow


def well(place: Membership, visibility: Visibility) -> Seen:
    cache = new_cache(4_096)
    exchange = TorchDistExchange(device_channels(place, 20.0), cache, visibility, place.epoch)
    return steps_of(exchange, cache, [[3, 1], [7], [1, 1, 1]], 5)


@pytest.mark.parametrize("visibility", [Visibility.NEXT_STEP, Visibility.OVERLAPPED])
def test_nothing_is_unpacked_before_it_has_arrived(visibility: Visibility, ranks: RankPool) -> None:
    first, *others = ranks.run(well, 3, visibility)
    assert len(first.content) == 6
    for seen in others:
        assert all(map(torch.equal, seen.content, first.content))


@dataclass(frozen=True, slots=True)
class Begun:
    """A step in which each of two ranks feeds one token, and no K and V ever arrive."""

    exchange: TorchDistExchange
    cache: KVCache
    group: DeviceGroup
    headers: Any

    @classmethod
    def on(cls, place: Membership, visibility: Visibility) -> Self:
        channels = device_channels(place, 0.3, silent=True)
        assert channels.headers is not None
        cache = new_cache(256)
        for slab in (*cache.keys, *cache.values):
            slab.fill_(float(place.rank))
        exchange = TorchDistExchange(channels, cache, visibility, place.epoch)
        exchange.begin(StepPlan(((0,), (1,)), (0, 0), (0, 0)))
        return cls(exchange, cache, channels.tensors.group, channels.headers.group)

    def untouched(self) -> bool:
        slabs = (*self.cache.keys, *self.cache.values)
        return all(bool((slab == self.exchange.rank).all()) for slab in slabs)


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except ExchangeError as error:
        return str(error)
    return ""


def says_but_does_not_send(place: Membership) -> tuple[list[str], bool, int]:
    """Headers arrive, K and V do not."""
    begun = Begun.on(place, Visibility.OVERLAPPED)
    exchange = begun.exchange
    exchange.post(StepReport(0, 0, 0, ()))
    exchange.post(StepReport(1, 0, 0, ()))
    calls = (exchange.collect, exchange.collect, lambda: exchange.share([[0], [1]]))
    errors = [error_of(call) for call in calls]
    begun.headers.barrier().wait()  # both ranks stay until here
    return errors, begun.untouched(), begun.group.aborts


def test_a_collective_that_does_not_end_is_aborted_once_and_never_unpacked(
    ranks: RankPool,
) -> None:
    for rank, (errors, untouched, aborts) in enumerate(ranks.run(says_but_does_not_send, 2)):
        assert len(set(errors)) == 1
        assert errors[0].startswith(f"Shard {rank} lost its peers in epoch")
        assert errors[0].endswith("at step 0: no answer within 0.3 s.")
        assert untouched
        assert aborts == 1


def computes(place: Membership) -> tuple[str, int, int]:
    """A forward pass under same-step."""
    begun = Begun.on(place, Visibility.SAME_STEP)

    def forward() -> None:
        for layer in range(LAYERS):
            begun.exchange.send_layer(layer)
            begun.exchange.receive_layer(layer)

    error = error_of(forward)
    begun.headers.barrier().wait()
    return error, begun.group.sent, begun.group.aborts


def test_a_forward_pass_ends_with_an_error_before_anything_is_sampled(ranks: RankPool) -> None:
    for error, sent, aborts in ranks.run(computes, 2):
        assert "at layer 0: no answer within 0.3 s" in error
        assert sent == min(LAYERS, MOST_AHEAD + 1)
        assert aborts == 1


def test_the_host_runs_only_a_few_collectives_ahead() -> None:
    store = serve_store(HOST)
    place = Membership(epoch=1, rank=0, world_size=1, store_host=HOST, store_port=store.port)
    channels = device_channels(place, 0.05, silent=True)
    collectives = Collectives(channels, 1, Timeline(), ExchangeCounts())
    stage = StagePool(new_cache(64), 0, (0,), CPU).take(Shape((0,), (1,), range(1)))
    assert stage is not None
    for number in range(MOST_AHEAD):
        collectives.wait(collectives.send(channels.tensors, stage, f"layer {number}"))
    with pytest.raises(ExchangeError, match="at layer 0: no answer"):
        collectives.wait(collectives.send(channels.tensors, stage, "one more"))


def outlives(place: Membership) -> tuple[str, int]:
    """Rank 1 dies, which the headers' group notices."""
    begun = Begun.on(place, Visibility.NEXT_STEP)
    if place.rank == 1:
        os._exit(9)
    begun.exchange.post(StepReport(0, 0, 0, ()))
    return error_of(begun.exchange.collect), begun.group.aborts


def test_a_loss_that_the_headers_show_aborts_the_tensors_too(mortal: RankPool) -> None:
    error, aborts = mortal.outcomes(outlives, 2, timeout=20.0)[0]
    assert "Shard 0 lost its peers in epoch 1 at step 0" in error
    assert aborts == 1


def test_a_bounded_job_returns_raises_or_is_left_behind() -> None:
    done: list[int] = []
    within(5.0, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"no end within 0\.05 s"):
        within(0.05, never.wait)
    never.set()
