"""Forming a group of ranks: a store, a process group, and a check that all ranks are alike."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from hogwild_dist.errors import ExchangeError, first_line

dist: Any = distributed
"""Untyped: PyTorch does not export the types of stores and process groups."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """One rank's place in a group.

    Attributes:
        epoch: number of the membership; each epoch has its own keys in the store.
        rank: rank of this process.
        world_size: number of processes in the group.
        store_host: host of the store.
        store_port: port of the store.
        timeout_seconds: time limit of a collective, in seconds.
    """

    epoch: int
    rank: int
    world_size: int
    store_host: str
    store_port: int
    timeout_seconds: float = 60.0


def serve_store(host: str) -> Any:
    """Open a store on a free port of this machine (`store.port`), where the ranks meet.

    Args:
        host: this machine's address as the ranks see it.
    """
    return dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, multi_tenant=True)


def form_group(place: Membership, device: torch.device, own_host: str) -> Any:
    """Meet the other ranks and make a process group, without PyTorch's global default group.

    Args:
        place: place of this rank.
        device: device of this rank; a GPU uses NCCL, a CPU gloo.
        own_host: this machine's address as the other ranks see it.

    Returns:
        A process group.

    Raises:
        ExchangeError: the other ranks did not join in time.
    """
    timeout = timedelta(seconds=place.timeout_seconds)
    try:
        store = _store(place, timeout)
        if device.type == "cuda":
            return _nccl(store, place, timeout)
        return _gloo(store, place, timeout, own_host)
    except RuntimeError as error:  # DistError of PyTorch is one
        reason = first_line(error)
        raise ExchangeError(
            f"Shard {place.rank} did not reach its {place.world_size - 1} peers at "
            f"{place.store_host}:{place.store_port} within {place.timeout_seconds:g} s ({reason}); "
            "check that the nodes reach each other on all ports, or raise the timeout."
        ) from error


def check_alike(place: Membership, about: Mapping[str, str]) -> None:
    """Check that all ranks have the same versions, model, dtype and sizes.

    Args:
        place: place of this rank.
        about: description of this rank, with the same keys on every rank.

    Raises:
        ExchangeError: two ranks differ; the sentence names the first difference.
    """
    store = _store(place, timedelta(seconds=place.timeout_seconds))
    store.set(f"about/{place.rank}", json.dumps(dict(about), sort_keys=True))
    for rank in range(place.world_size):
        try:
            theirs = json.loads(store.get(f"about/{rank}"))
        except RuntimeError as error:
            raise ExchangeError(
                f"Shard {rank} sent no description of itself within {place.timeout_seconds:g} s; "
                "look at its log, or raise the timeout."
            ) from error
        for key, ours in about.items():
            if theirs.get(key) != ours:
                raise ExchangeError(
                    f"Shard {rank} has {key} {theirs.get(key)} and shard {place.rank} has {ours}; "
                    "use the same on all nodes."
                )


def _store(place: Membership, timeout: timedelta) -> Any:
    store = dist.TCPStore(
        place.store_host,
        place.store_port,
        is_master=False,
        wait_for_workers=False,
        timeout=timeout,
    )
    return dist.PrefixStore(f"group/{place.epoch}", store)


def _gloo(store: Any, place: Membership, timeout: timedelta, own_host: str) -> Any:
    """Make a gloo group on this machine's own address; gloo itself may choose 127.0.0.1."""
    options = dist.ProcessGroupGloo._Options()
    options._timeout = timeout
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=own_host)]
    return dist.ProcessGroupGloo(store, place.rank, place.world_size, options)


def _nccl(store: Any, place: Membership, timeout: timedelta) -> Any:
    """Make an NCCL group, whose collectives run on a stream of their own."""
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    options.is_high_priority_stream = True
    return dist.ProcessGroupNCCL(store, place.rank, place.world_size, options)
