"""The forms that a group's channels can have, on gloo between CPUs, and groups that play a device.

With NCCL, waiting for a collective does not block the host, whatever has become of the peers.
`DeviceGroup` behaves like that over gloo; only what the host does about it can be tested with it.
"""

from dataclasses import replace
from typing import Any

import torch

from hogwild_dist.exchange.channels import Channel, Channels
from hogwild_dist.exchange.process_group import Membership, form_group
from tests.rank_pool import HOST

CPU = torch.device("cpu")
FORMS = ("together", "apart")
"""Headers travel with K and V, or over a group of their own, as on GPUs."""


def channels(place: Membership, form: str) -> Channels:
    together = form_group(place, CPU, HOST)
    if form == "together":
        return together
    elsewhere = replace(place, epoch=place.epoch + 1_000_000)
    return Channels(tensors=together.tensors, headers=form_group(elsewhere, CPU, HOST).tensors)


def device_channels(place: Membership, timeout: float, *, silent: bool = False) -> Channels:
    """Channels with a `DeviceGroup` for K and V, whose collectives the host looks at itself."""
    made = channels(place, "apart")
    group = DeviceGroup(made.tensors.group, silent=silent)
    tensors = Channel(group=group, timeout_seconds=timeout, on_stream=True)
    return replace(made, tensors=tensors)


class DeviceGroup:
    """A group whose `wait` returns at once; an abort ends its collectives without an error.

    Args:
        gloo: group that the bytes travel over.
        silent: whether this rank's collectives never reach its peers.
    """

    def __init__(self, gloo: Any, *, silent: bool) -> None:
        self.gloo = gloo
        self.silent = silent
        self.sent = 0
        self.aborts = 0

    def rank(self) -> int:
        return int(self.gloo.rank())

    def size(self) -> int:
        return int(self.gloo.size())

    def abort(self) -> None:
        self.aborts += 1

    def alltoall_base(self, *arguments: Any) -> "DeviceWork":
        self.sent += 1
        return DeviceWork(self, None if self.silent else self.gloo.alltoall_base(*arguments))


class DeviceWork:
    def __init__(self, group: DeviceGroup, work: Any) -> None:
        self.group = group
        self.work = work

    def is_completed(self) -> bool:
        return bool(self.group.aborts) or (self.work is not None and self.work.is_completed())

    def wait(self) -> None:
        if self.work is not None and self.work.is_completed() and not self.group.aborts:
            self.work.wait()
