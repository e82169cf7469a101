"""The channels over which a rank exchanges with its peers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A process group, and how its collectives end.

    Attributes:
        group: process group of PyTorch.
        timeout_seconds: time limit of a collective, in seconds.
        on_stream: whether waiting for a collective makes the device's stream wait and not the
            host, as with NCCL.
    """

    group: Any
    timeout_seconds: float
    on_stream: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """What a rank's exchange travels over.

    Attributes:
        tensors: channel of K and V.
        headers: channel of the headers, whose tensors are on the CPU; None if a header travels in
            one collective with the K and V of its step.
    """

    tensors: Channel
    headers: Channel | None = None
