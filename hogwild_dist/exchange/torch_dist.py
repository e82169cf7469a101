"""The exchange over torch.distributed: NCCL between GPUs, gloo between CPUs.

Every collective is one ``all_to_all_single`` with uneven splits: each rank sends the same bytes to
every other, and the sizes follow from what all ranks agree on, so that none has to be announced.

| visibility   | collectives a step                                                        |
|--------------|---------------------------------------------------------------------------|
| `same-step`  | one a layer (K and V of the layer), and one for the headers               |
| `next-step`  | one: header and all layers                                                |
| `overlapped` | the same one, which travels while the next step computes                  |

A layer of `same-step` travels while attention reads what was there before it. NCCL's collectives
run on their own stream, and waiting for one makes the compute stream wait, not the host; gloo's
run on a thread of their own.
"""

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.cache import KVCache
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange import staging, wire
from hogwild_dist.exchange.base import Agreement, News, StepPlan, agree
from hogwild_dist.timeline import Timeline

_LOCATION = re.compile(r"^\[[^\]]*\] ")
"""Gloo begins its errors with a place in its own source."""


@dataclass(slots=True)
class ExchangeCounts:
    """What an exchange has done so far.

    Attributes:
        collectives: calls.
        bytes_sent: to all peers together, headers included.
        wait_seconds: the host waited for a collective to end.
    """

    collectives: int = 0
    bytes_sent: int = 0
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """A collective that is on its way.

    Attributes:
        work: torch's handle, None in a group of one.
        parts: what arrives from each rank, nothing from this one.
        keep: what must live until the collective has ended.
        number: of the collective.
    """

    work: Any
    parts: list[Tensor]
    keep: Tensor
    number: int


@dataclass(frozen=True, slots=True)
class _Posted:
    """A step whose news are on their way."""

    news: News
    plan: StepPlan
    slots: list[Tensor]
    sent: _Sent


class TorchDistExchange:
    """Exchanges K and V with the other ranks of a process group.

    Args:
        group: a process group of torch.distributed, formed by `group.form_group`.
        cache: this rank's.
        visibility: of the run, the same on every rank.
        epoch: number of the membership.
        timeline: takes the spans of sending and waiting.
    """

    def __init__(
        self,
        group: Any,
        cache: KVCache,
        visibility: Visibility,
        epoch: int,
        timeline: Timeline | None = None,
    ) -> None:
        self.rank: int = group.rank()
        self.world_size: int = group.size()
        self.visibility = visibility
        self.epoch = epoch
        self.counts = ExchangeCounts()
        self._timeline = timeline or Timeline()
        self._group = group
        self._cache = cache
        self._device = cache.keys[0].device
        self._layers = range(len(cache.keys))
        self._plan: StepPlan | None = None
        self._slots: list[Tensor] = []
        self._layer: _Sent | None = None
        self._posted: deque[_Posted] = deque()

    def begin(self, plan: StepPlan) -> None:
        """Take in who feeds what."""
        self._plan = plan
        self._slots = self._to_tensors(plan.slots)

    def send_layer(self, layer: int) -> None:
        """Under `same-step`: this rank's new K and V of `layer` are in the cache; send them."""
        if not any(len(slots) for slots in self._slots):
            return
        layers = (layer,)
        self._layer = self._send(self._pack(layers, self._slots[self.rank]), self._sizes(layers))

    def receive_layer(self, layer: int) -> None:
        """Under `same-step`: return once the peers' new K and V of `layer` are in the cache."""
        sent, self._layer = self._layer, None
        if sent is None:
            return
        self._receive(sent, f"layer {layer}")
        for rank, part in enumerate(sent.parts):
            if rank != self.rank:
                staging.unpack(self._cache, (layer,), self._slots[rank], part)

    def post(self, news: News) -> None:
        """Send this rank's part of the step that was begun."""
        assert self._plan is not None, "no step was begun"
        plan, layers = self._plan, self._layers_with_news()
        own = self._slots[self.rank]
        header = wire.pack_header(news, self.epoch, self.rank, len(own))
        slot = self._header_bytes(plan, self.rank)
        assert len(header) <= slot, "a header outgrew its slot"
        data = bytearray(slot)
        data[: len(header)] = header
        head = torch.frombuffer(data, dtype=torch.uint8).to(self._device)
        message = torch.cat((head, self._pack(layers, own)))
        sizes = [
            self._header_bytes(plan, rank) + size for rank, size in enumerate(self._sizes(layers))
        ]
        self._posted.append(_Posted(news, plan, self._slots, self._send(message, sizes)))

    def collect(self) -> Agreement:
        """Wait for everybody's part of the oldest step that was posted and not collected."""
        posted = self._posted.popleft()
        self._receive(posted.sent, f"step {posted.news.step}")
        layers = self._layers_with_news()
        said = []
        for rank, part in enumerate(posted.sent.parts):
            if rank == self.rank:
                said.append(posted.news)
                continue
            slot = self._header_bytes(posted.plan, rank)
            said.append(self._read_header(part[:slot], posted, rank))
            staging.unpack(self._cache, layers, posted.slots[rank], part[slot:])
        return agree(said)

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Bring K and V of some slots of each rank to all, outside of a step."""
        places = self._to_tensors(slots)
        per_token = staging.token_bytes(self._cache, self._layers)
        sizes = [per_token * len(own) for own in places]
        sent = self._send(self._pack(self._layers, places[self.rank]), sizes)
        self._receive(sent, "a shared block")
        for rank, part in enumerate(sent.parts):
            if rank != self.rank:
                staging.unpack(self._cache, self._layers, places[rank], part)

    def _layers_with_news(self) -> Sequence[int]:
        """Layers that travel with the headers; under `same-step` they have done so before."""
        return () if self.visibility is Visibility.SAME_STEP else self._layers

    def _read_header(self, data: Tensor, posted: _Posted, rank: int) -> News:
        return wire.unpack_header(
            data.cpu().numpy().tobytes(),
            epoch=self.epoch,
            step=posted.news.step,
            rank=rank,
            state=posted.news.state,
            num_tokens=len(posted.slots[rank]),
        )

    def _header_bytes(self, plan: StepPlan, rank: int) -> int:
        """A header's slot, rounded up so that the K and V behind it are aligned."""
        size = wire.header_bytes(plan.num_rows[rank], plan.num_recorded[rank])
        return -(-size // 16) * 16

    def _sizes(self, layers: Sequence[int]) -> list[int]:
        """Bytes of K and V that each rank sends."""
        per_token = staging.token_bytes(self._cache, layers)
        return [per_token * len(slots) for slots in self._slots]

    def _pack(self, layers: Sequence[int], slots: Tensor) -> Tensor:
        size = staging.token_bytes(self._cache, layers) * len(slots)
        data = torch.empty(size, dtype=torch.uint8, device=self._device)
        staging.pack(self._cache, layers, slots, data)
        return data

    def _to_tensors(self, slots: Sequence[Sequence[int]]) -> list[Tensor]:
        return [torch.tensor(own, dtype=torch.long, device=self._device) for own in slots]

    def _send(self, message: Tensor, sizes: Sequence[int]) -> _Sent:
        """Send `message` to every peer and receive `sizes` bytes from each."""
        if self.world_size == 1:
            return _Sent(None, [message[:0]], message, self.counts.collectives)
        others = self.world_size - 1
        out_sizes = [0 if rank == self.rank else size for rank, size in enumerate(sizes)]
        in_sizes = [0 if rank == self.rank else len(message) for rank in range(self.world_size)]
        outgoing = message.repeat(others) if others != 1 else message
        incoming = torch.empty(sum(out_sizes), dtype=torch.uint8, device=self._device)
        number = self.counts.collectives
        try:
            with self._timeline.span("send", number):
                work = self._group.alltoall_base(incoming, outgoing, out_sizes, in_sizes)
        except RuntimeError as error:
            raise self._lost("a collective", error) from error
        self.counts.collectives += 1
        self.counts.bytes_sent += len(outgoing)
        return _Sent(work, list(torch.split(incoming, out_sizes)), outgoing, number)

    def _receive(self, sent: _Sent, what: str) -> None:
        if sent.work is None:
            return
        begin = time.perf_counter()
        try:
            with self._timeline.span("wait", sent.number):
                sent.work.wait()
        except RuntimeError as error:
            raise self._lost(what, error) from error
        self.counts.wait_seconds += time.perf_counter() - begin

    def _lost(self, what: str, error: RuntimeError) -> ExchangeError:
        reason = _LOCATION.sub("", str(error).strip() or repr(error)).splitlines()[0]
        reason = reason.partition(". This is typically")[0].rstrip(".") + "."
        return ExchangeError(
            f"Shard {self.rank} lost its peers in epoch {self.epoch} at {what}: {reason}"
        )
