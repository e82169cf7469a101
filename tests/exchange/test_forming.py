"""Forming a group: who comes, who is alike, and what carries K and V."""

import socket
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hogwild_dist.config import ExchangeBackend
from hogwild_dist.errors import ConfigError, ExchangeError
from hogwild_dist.exchange.process_group import (
    Membership,
    check_alike,
    form_group,
    pick_backend,
    serve_store,
)
from tests.exchange.forms import CPU
from tests.rank_pool import HOST, RankPool

pytestmark = pytest.mark.slow


def meet(place: Membership, torch_version: str) -> str:
    version = "9.9" if place.rank == 1 else torch_version
    try:
        check_alike(place, {"hogwild-dist": "1", "torch": version})
    except ExchangeError as error:
        return str(error)
    return "alike"


def test_shards_that_are_not_alike_say_what_differs(ranks: RankPool) -> None:
    assert ranks.run(meet, 3, "9.9") == ["alike"] * 3
    said = ranks.run(meet, 3, "2.13")
    assert said[0] == "Shard 1 has torch 9.9 and shard 0 has 2.13; use the same on all nodes."
    assert said[1] == "Shard 0 has torch 2.13 and shard 1 has 9.9; use the same on all nodes."


def there(store: Any, **fields: Any) -> Membership:
    """Return the place of rank 0 among several at a store."""
    return Membership(
        epoch=1, rank=0, store_host=HOST, store_port=store.port, **{"world_size": 4, **fields}
    )


def test_shards_that_come_one_by_one_have_one_time_limit() -> None:
    """Each comes soon enough after the one before it; together they are late."""
    store = serve_store(HOST)
    come = [
        Timer(0.6 * rank, store.set, (f"group/1/about/{rank}", '{"torch": "2.13"}'))
        for rank in (1, 2, 3)
    ]
    for timer in come:
        timer.start()
    with pytest.raises(
        ExchangeError, match=r"Shard 2 sent no description .* within 1 s \(.*\); loo"
    ):
        check_alike(there(store, timeout_seconds=1.0), {"torch": "2.13"})
    for timer in come:
        timer.join()


def test_a_description_that_cannot_be_read_is_an_error() -> None:
    store = serve_store(HOST)
    store.set("group/1/about/1", "{")
    with pytest.raises(ExchangeError, match="Shard 1 sent no description of itself"):
        check_alike(there(store), {"torch": "2.13"})


@pytest.mark.parametrize("silent", [True, False])
def test_a_store_that_is_not_there_or_does_not_answer_is_an_error(silent: bool) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        if not silent:
            server.close()
        place = there(SimpleNamespace(port=port), timeout_seconds=0.5)
        with pytest.raises(ExchangeError, match=f"Shard 0 did not reach its 3 peers at .*{port}"):
            check_alike(place, {"torch": "2.13"})


@pytest.mark.parametrize(
    ("host", "other"), [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")]
)
def test_a_store_is_reached_on_its_own_address_alone(host: str, other: str) -> None:
    store = serve_store(host)
    socket.create_connection((host, store.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((other, store.port), timeout=5)


def test_a_store_on_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ExchangeError, match=r"cannot listen on 192\.0\.2\.1, .*--node-ip-address"):
        serve_store("192.0.2.1")


def alone_at_the_meeting(place: Membership) -> str:
    if place.rank == 1:
        return "away"
    try:
        form_group(place, CPU, HOST)
    except ExchangeError as error:
        return str(error)
    return "formed"


def test_a_group_that_does_not_come_together_is_an_error(mortal: RankPool) -> None:
    results = mortal.outcomes(alone_at_the_meeting, 2, timeout=1.0)
    assert "Shard 0 did not reach its 1 peers" in results[0]


def test_nccl_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a GPU, and the device is cpu; use gloo, or leave"):
        pick_backend(ExchangeBackend.NCCL, CPU)


@pytest.mark.parametrize(
    ("chosen", "device", "picked"),
    [
        (None, "cpu", ExchangeBackend.GLOO),
        (None, "cuda:0", ExchangeBackend.NCCL),
        (ExchangeBackend.GLOO, "cuda:0", ExchangeBackend.GLOO),
        (ExchangeBackend.NCCL, "cuda:0", ExchangeBackend.NCCL),
    ],
)
def test_the_device_decides_where_no_backend_is_chosen(
    chosen: ExchangeBackend | None, device: str, picked: ExchangeBackend
) -> None:
    assert pick_backend(chosen, torch.device(device)) is picked
