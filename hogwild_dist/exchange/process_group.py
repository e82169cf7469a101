"""Forming a group of ranks: a store, process groups, and a check that all ranks are alike."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import distributed

from hogwild_dist.config import ExchangeBackend
from hogwild_dist.environment import leave_aborts_to_the_exchange
from hogwild_dist.errors import ConfigError, ExchangeError, first_line
from hogwild_dist.exchange.bounded import within
from hogwild_dist.exchange.channels import Channel, Channels

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

    It listens on the given address alone; by itself, PyTorch's store listens on all of them.

    Args:
        host: this machine's address as the ranks see it.

    Raises:
        ExchangeError: this machine does not have the address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ExchangeError(
            f"The driver cannot listen on {host}, the address that Ray has for its node "
            f"({error.strerror}); start Ray there with `--node-ip-address` and an address of the "
            "machine."
        ) from error
    return dist.TCPStore(
        host,
        listener.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def pick_backend(chosen: ExchangeBackend | None, device: torch.device) -> ExchangeBackend:
    """Return the library that carries K and V from and to a device.

    Raises:
        ConfigError: the chosen library needs a GPU.
    """
    if chosen is ExchangeBackend.NCCL and device.type != "cuda":
        raise ConfigError(
            f"exchange_backend is nccl, which needs a GPU, and the device is {device}; use gloo, "
            "or leave it out."
        )
    default = ExchangeBackend.NCCL if device.type == "cuda" else ExchangeBackend.GLOO
    return chosen or default


def form_group(
    place: Membership,
    device: torch.device,
    own_host: str,
    backend: ExchangeBackend | None = None,
) -> Channels:
    """Meet the other ranks and make process groups, without PyTorch's global default group.

    On a GPU, headers travel over gloo and from CPU to CPU, in a group of their own. That group is
    made first, so that a peer that does not come is noticed by gloo, within the time limit.

    Args:
        place: place of this rank.
        device: device of this rank.
        own_host: this machine's address as the other ranks see it.
        backend: library that carries K and V; None picks NCCL for a GPU and gloo for a CPU.

    Returns:
        The channels of the rank's exchange, which have carried something.

    Raises:
        ExchangeError: the other ranks did not join in time.
        ConfigError: the chosen library needs a GPU.
    """
    picked = pick_backend(backend, device)
    try:
        store = _store(place)
        if device.type != "cuda":
            return Channels(tensors=_gloo(store, place, own_host))
        headers = _gloo(dist.PrefixStore("headers", store), place, own_host)
        tensors_store = dist.PrefixStore("tensors", store)
        if picked is ExchangeBackend.GLOO:
            tensors = _gloo(tensors_store, place, own_host)
        else:
            tensors = _nccl(tensors_store, place, device)
        return Channels(tensors=tensors, headers=headers)
    except (RuntimeError, TimeoutError) as error:  # DistError of PyTorch is a RuntimeError
        raise _unreached(place, first_line(error)) from error


def check_alike(place: Membership, about: Mapping[str, str]) -> None:
    """Check that all ranks have the same versions, model, dtype and sizes.

    Args:
        place: place of this rank.
        about: description of this rank, with the same keys on every rank.

    Raises:
        ExchangeError: two ranks differ, and the sentence names the first difference; or a rank was
            not heard of within the time limit, which is one for all of them.
    """
    heard: list[int] = []
    try:
        within(place.timeout_seconds, partial(_compare, place, about, heard))
    except (RuntimeError, TimeoutError, ValueError) as error:
        reason = first_line(error)
        if not heard:
            raise _unreached(place, reason) from error
        raise ExchangeError(
            f"Shard {len(heard) - 1} sent no description of itself within "
            f"{place.timeout_seconds:g} s ({reason}); look at its log, or raise the timeout."
        ) from error


def _compare(place: Membership, about: Mapping[str, str], heard: list[int]) -> None:
    """Describe this rank, and compare it with each of the others.

    Args:
        place: place of this rank.
        about: description of this rank.
        heard: receives this rank, and then the ranks that have been compared.
    """
    store = _store(place)
    store.set(f"about/{place.rank}", json.dumps(dict(about), sort_keys=True))
    heard.append(place.rank)
    for rank in range(place.world_size):
        if found := difference(about, json.loads(store.get(f"about/{rank}"))):
            key, ours, theirs = found
            raise ExchangeError(
                f"Shard {rank} has {key} {theirs} and shard {place.rank} has {ours}; "
                "use the same on all nodes."
            )
        heard.append(rank)


def difference(
    about: Mapping[str, str], other: Mapping[str, str]
) -> tuple[str, str, str | None] | None:
    """Return what two ranks have not in common first, and what each has; None if they are alike."""
    for key, ours in about.items():
        if (theirs := other.get(key)) != ours:
            return key, ours, theirs
    return None


def _unreached(place: Membership, reason: str) -> ExchangeError:
    return ExchangeError(
        f"Shard {place.rank} did not reach its {place.world_size - 1} peers at "
        f"{place.store_host}:{place.store_port} within {place.timeout_seconds:g} s ({reason}); "
        "check that the nodes reach each other on all ports, or raise the timeout."
    )


def _store(place: Membership) -> Any:
    store = dist.TCPStore(
        place.store_host,
        place.store_port,
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=place.timeout_seconds),
    )
    return dist.PrefixStore(f"group/{place.epoch}", store)


def _gloo(store: Any, place: Membership, own_host: str) -> Channel:
    """Make a gloo group on this machine's own address; gloo itself may choose 127.0.0.1."""
    options = dist.ProcessGroupGloo._Options()
    options._timeout = timedelta(seconds=place.timeout_seconds)
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=own_host)]
    group = dist.ProcessGroupGloo(store, place.rank, place.world_size, options)
    return Channel(group=group, timeout_seconds=place.timeout_seconds)


def _nccl(store: Any, place: Membership, device: torch.device) -> Channel:
    """Make an NCCL group on a device, whose collectives run on a stream of their own."""
    leave_aborts_to_the_exchange()
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timedelta(days=1)  # the exchange has its own time limit
    options.is_high_priority_stream = True
    group = dist.ProcessGroupNCCL(store, place.rank, place.world_size, options)
    within(place.timeout_seconds, partial(_connect, group, device))
    return Channel(group=group, timeout_seconds=place.timeout_seconds, on_stream=True)


def _connect(group: Any, device: torch.device) -> None:
    """Run a small collective on a device, since NCCL connects the ranks in the first one.

    If a peer is lost at that moment, this never returns.
    """
    torch.cuda.set_device(device)  # of this thread
    sizes = [1] * group.size()
    sent = torch.zeros(group.size(), dtype=torch.uint8, device=device)
    group.alltoall_base(torch.empty_like(sent), sent, sizes, sizes).wait()
    torch.cuda.synchronize(device)
