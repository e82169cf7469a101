"""Forming a group: who comes, who is alike, and what carries K and V."""

import pytest
import torch

from hogwild_dist.config import ExchangeBackend
from hogwild_dist.errors import ConfigError, ExchangeError
from hogwild_dist.exchange.process_group import (
    Membership,
    check_alike,
    form_group,
    pick_backend,
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
