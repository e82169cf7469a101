"""Stages: the buffers of collectives, used again from step to step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.exchange import staging
from hogwild_dist.kvcache.cache import KVCache


@dataclass(frozen=True, slots=True)
class Shape:
    """What the messages of a collective hold; all ranks compute the same shape.

    Attributes:
        heads: for each rank, the bytes of its header.
        num_tokens: for each rank, the number of tokens whose K and V follow the header.
        layers: layers of these K and V.
    """

    heads: tuple[int, ...]
    num_tokens: tuple[int, ...]
    layers: range

    @property
    def is_empty(self) -> bool:
        """Whether no rank has anything to send."""
        return not any(self.heads) and not (self.layers and any(self.num_tokens))


@dataclass(slots=True)
class Memory:
    """Bytes that stages are cut from; they grow to the largest stage so far."""

    outgoing: Tensor
    incoming: Tensor

    def reserve(self, num_outgoing: int, num_incoming: int) -> None:
        """Make the buffers at least this long."""
        if len(self.outgoing) < num_outgoing:
            self.outgoing = self.outgoing.new_empty(num_outgoing)
        if len(self.incoming) < num_incoming:
            self.incoming = self.incoming.new_empty(num_incoming)


@dataclass(frozen=True, slots=True)
class Stage:
    """The buffers of a collective in which a rank sends the same message to all its peers.

    Attributes:
        shape: what the messages hold.
        memory: what the buffers are cut from.
        outgoing: this rank's message, once for each peer.
        message: the first copy in `outgoing`.
        incoming: the peers' messages, peer by peer.
        in_sizes: for each rank, the bytes sent to it.
        out_sizes: for each rank, the bytes received from it.
        heads: for each rank, the header that arrives from it; empty for one that is no peer.
        mine: K and V in `message`, from `staging.views`.
        parts: for each rank, K and V that arrive from it; none for one that is no peer.
    """

    shape: Shape
    memory: Memory
    outgoing: Tensor
    message: Tensor
    incoming: Tensor
    in_sizes: list[int]
    out_sizes: list[int]
    heads: list[Tensor]
    mine: list[Tensor]
    parts: list[list[Tensor]]

    def write_header(self, header: bytes, size: int) -> None:
        """Write this rank's header into its message, and zeros after it up to `size` bytes."""
        assert len(header) <= size, "a header outgrew its slot"
        slot = bytearray(header.ljust(size, b"\0"))
        self.message[:size] = torch.frombuffer(slot, dtype=torch.uint8)

    def repeat_message(self) -> None:
        """Copy the message for the second peer and those after it."""
        if len(self.outgoing) > len(self.message):
            self.outgoing.view(-1, len(self.message))[1:] = self.message


class StagePool:
    """The stages of a rank's collectives.

    A stage belongs to whoever has taken it until it is given back, so that nothing writes to
    buffers in flight. A free stage of the same shape is used as it is. For another shape, the
    memory of a free stage is cut anew.

    Args:
        cache: cache that determines shapes and dtype of K and V.
        rank: rank of this process.
        peers: ranks that messages are exchanged with.
        device: device of the buffers.
    """

    def __init__(
        self, cache: KVCache, rank: int, peers: Sequence[int], device: torch.device
    ) -> None:
        self._cache = cache
        self._rank = rank
        self._peers = peers
        self._device = device
        self._free: list[Stage] = []

    def take(self, shape: Shape) -> Stage | None:
        """Return a stage of a shape, or None if nothing is to be exchanged."""
        if not self._peers or shape.is_empty:
            return None
        for at, stage in enumerate(self._free):
            if stage.shape == shape:
                return self._free.pop(at)
        return self._cut(shape, self._free.pop().memory if self._free else self._new_memory())

    def give_back(self, stage: Stage) -> None:
        """Take back a stage whose collective has ended and whose content has been used."""
        self._free.append(stage)

    def _new_memory(self) -> Memory:
        nothing = torch.empty(0, dtype=torch.uint8, device=self._device)
        return Memory(nothing, nothing)

    def _cut(self, shape: Shape, memory: Memory) -> Stage:
        ranks = range(len(shape.heads))
        per_token = staging.token_bytes(self._cache, shape.layers)
        sizes = [shape.heads[rank] + per_token * shape.num_tokens[rank] for rank in ranks]
        own = sizes[self._rank]
        in_sizes = [own if rank in self._peers else 0 for rank in ranks]
        out_sizes = [sizes[rank] if rank in self._peers else 0 for rank in ranks]
        memory.reserve(sum(in_sizes), sum(out_sizes))
        outgoing = memory.outgoing[: sum(in_sizes)]
        incoming = memory.incoming[: sum(out_sizes)]
        message, arriving = outgoing[:own], torch.split(incoming, out_sizes)
        return Stage(
            shape=shape,
            memory=memory,
            outgoing=outgoing,
            message=message,
            incoming=incoming,
            in_sizes=in_sizes,
            out_sizes=out_sizes,
            heads=[arriving[rank][: shape.heads[rank]] for rank in ranks],
            mine=self._views(shape, self._rank, message),
            parts=[
                self._views(shape, rank, arriving[rank]) if rank in self._peers else []
                for rank in ranks
            ],
        )

    def _views(self, shape: Shape, rank: int, message: Tensor) -> list[Tensor]:
        begin, count = shape.heads[rank], shape.num_tokens[rank]
        return staging.views(self._cache, shape.layers, count, message[begin:])
