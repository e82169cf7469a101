"""The exchange over torch.distributed: NCCL between GPUs, gloo between CPUs.

Every collective is one ``all_to_all_single`` with uneven splits: each rank sends the same bytes to
every other rank. All ranks compute the sizes from what they agree on, so no size is sent.

| visibility   | collectives a step                                                        |
|--------------|---------------------------------------------------------------------------|
| `same-step`  | one a layer (K and V of the layer), and one for the headers               |
| `next-step`  | one: header and all layers                                                |
| `overlapped` | one: header and all layers, sent while the next step computes             |

Under `same-step`, a layer is sent while attention reads the older keys. NCCL runs collectives on
its own stream, and waiting for one makes the compute stream wait, not the host; gloo runs them on
its own thread.
"""

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.config import Visibility
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange import staging, wire
from hogwild_dist.exchange.base import AgreedStep, StepPlan, StepReport, combine_reports
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.page_allocator import ceil_div
from hogwild_dist.timeline import Timeline

_LOCATION = re.compile(r"^\[[^\]]*\] ")
"""The source location with which gloo's errors begin."""


@dataclass(slots=True)
class ExchangeCounts:
    """Totals of an exchange.

    Attributes:
        collectives: number of collectives.
        bytes_sent: bytes sent to all peers together, including headers.
        seconds: seconds from sending to the end of waiting, including overlapped compute.
        wait_seconds: seconds for which the host waited.
    """

    collectives: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Staging:
    """The buffers of a collective, and the tensors in them.

    Attributes:
        outgoing: this rank's message, once for each peer.
        message: the first copy in `outgoing`.
        incoming: the peers' messages, peer by peer.
        in_sizes: for each rank, the bytes sent to it.
        out_sizes: for each rank, the bytes received from it.
        heads: for each rank, the bytes before K and V in its message.
        mine: parts of `message`.
        parts: for each rank, parts of its message.
    """

    outgoing: Tensor
    message: Tensor
    incoming: Tensor
    in_sizes: list[int]
    out_sizes: list[int]
    heads: list[Tensor]
    mine: list[Tensor]
    parts: list[list[Tensor]]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A collective in flight.

    Attributes:
        work: PyTorch's handle; None in a group of one.
        staging: buffers of the collective, which must live until it has ended.
        number: number of the collective.
        begin: time at which it was sent, in seconds of the performance counter.
    """

    work: Any
    staging: _Staging
    number: int
    begin: float


@dataclass(frozen=True, slots=True)
class _Posted:
    """A step whose reports are in flight."""

    report: StepReport
    slots: list[Tensor]
    sent: _Sent


class TorchDistExchange:
    """Exchanges K and V with the other ranks of a process group.

    Args:
        group: process group of torch.distributed, from `form_group`.
        cache: cache of this rank.
        visibility: when rows see the others' new tokens; the same on every rank.
        epoch: number of the membership.
        timeline: records the spans of sending and waiting.
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
        self._layer_staging: _Staging | None = None
        self._posted: deque[_Posted] = deque()

    def begin(self, plan: StepPlan) -> None:
        """Begin a step in which the ranks feed what the plan says."""
        self._plan = plan
        self._slots = self._to_tensors(plan.slots)
        self._layer_staging = None
        if self.visibility is Visibility.SAME_STEP and any(map(len, plan.slots)):
            self._layer_staging = self._stage((0,), self._slots, [0] * self.world_size)

    def send_layer(self, layer: int) -> None:
        """Send this rank's new K and V of `layer` from the cache, under `same-step`."""
        buffers = self._layer_staging
        if buffers is not None:
            staging.pack(self._cache, (layer,), self._slots[self.rank], buffers.mine)
            self._layer = self._send(buffers)

    def receive_layer(self, layer: int) -> None:
        """Wait until the peers' new K and V of `layer` are in the cache, under `same-step`."""
        sent, self._layer = self._layer, None
        if sent is not None:
            self._receive(sent, f"layer {layer}")
            self._unpack((layer,), self._slots, sent.staging)

    def post(self, report: StepReport) -> None:
        """Send this rank's report of the step that was begun."""
        assert self._plan is not None, "no step was begun"
        plan, layers, own = self._plan, self._layers_with_header(), self._slots[self.rank]
        heads = [self._header_bytes(plan, rank) for rank in range(self.world_size)]
        buffers = self._stage(layers, self._slots, heads)
        header = wire.pack_header(report, self.epoch, self.rank, len(own))
        assert len(header) <= heads[self.rank], "a header outgrew its slot"
        slot = header.ljust(heads[self.rank], b"\0")
        buffers.message[: len(slot)] = torch.frombuffer(bytearray(slot), dtype=torch.uint8)
        staging.pack(self._cache, layers, own, buffers.mine)
        self._posted.append(_Posted(report, self._slots, self._send(buffers)))

    def collect(self) -> AgreedStep:
        """Wait for all reports of the oldest step that was posted and not collected."""
        posted = self._posted.popleft()
        self._receive(posted.sent, f"step {posted.report.step}")
        reports = [
            posted.report if rank == self.rank else self._read_header(head, posted, rank)
            for rank, head in enumerate(posted.sent.staging.heads)
        ]
        self._unpack(self._layers_with_header(), posted.slots, posted.sent.staging)
        return combine_reports(reports)

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Send K and V of some slots of each rank to all ranks, outside of a step."""
        places = self._to_tensors(slots)
        buffers = self._stage(self._layers, places, [0] * self.world_size)
        staging.pack(self._cache, self._layers, places[self.rank], buffers.mine)
        self._receive(self._send(buffers), "a shared block")
        self._unpack(self._layers, places, buffers)

    def _layers_with_header(self) -> Sequence[int]:
        """Return the layers sent with the header; under `same-step` all were sent before."""
        return () if self.visibility is Visibility.SAME_STEP else self._layers

    def _read_header(self, head: Tensor, posted: _Posted, rank: int) -> StepReport:
        return wire.unpack_header(
            head.cpu().numpy().tobytes(),
            epoch=self.epoch,
            step=posted.report.step,
            rank=rank,
            state=posted.report.state,
            num_tokens=len(posted.slots[rank]),
        )

    def _header_bytes(self, plan: StepPlan, rank: int) -> int:
        """Return the size of a header's slot, rounded up so that K and V after it are aligned."""
        size = wire.header_bytes(plan.num_rows[rank], plan.num_recorded[rank])
        return ceil_div(size, 16) * 16

    def _to_tensors(self, slots: Sequence[Sequence[int]]) -> list[Tensor]:
        return [torch.tensor(own, dtype=torch.long, device=self._device) for own in slots]

    def _stage(
        self, layers: Sequence[int], slots: Sequence[Tensor], heads: Sequence[int]
    ) -> _Staging:
        """Make buffers for K and V of some slots of each rank, after `heads` header bytes."""
        per_token = staging.token_bytes(self._cache, layers)
        sizes = [head + per_token * len(own) for head, own in zip(heads, slots, strict=True)]
        own_size = sizes[self.rank]
        copies = max(1, self.world_size - 1)
        out_sizes = [0 if rank == self.rank else size for rank, size in enumerate(sizes)]
        in_sizes = [0 if rank == self.rank else own_size for rank in range(self.world_size)]
        outgoing = torch.empty(copies * own_size, dtype=torch.uint8, device=self._device)
        incoming = torch.empty(sum(out_sizes), dtype=torch.uint8, device=self._device)
        message, arriving = outgoing[:own_size], torch.split(incoming, out_sizes)
        return _Staging(
            outgoing=outgoing,
            message=message,
            incoming=incoming,
            in_sizes=in_sizes,
            out_sizes=out_sizes,
            heads=[part[:head] for part, head in zip(arriving, heads, strict=True)],
            mine=staging.views(
                self._cache, layers, len(slots[self.rank]), message[heads[self.rank] :]
            ),
            parts=[
                []
                if rank == self.rank
                else staging.views(self._cache, layers, len(own), arriving[rank][heads[rank] :])
                for rank, own in enumerate(slots)
            ],
        )

    def _unpack(self, layers: Sequence[int], slots: Sequence[Tensor], buffers: _Staging) -> None:
        for rank, parts in enumerate(buffers.parts):
            if rank != self.rank:
                staging.unpack(self._cache, layers, slots[rank], parts)

    def _send(self, buffers: _Staging) -> _Sent:
        """Send the message to every peer and receive theirs."""
        number, begin = self.counts.collectives, time.perf_counter()
        if self.world_size == 1:
            return _Sent(None, buffers, number, begin)
        if self.world_size > 2:
            own = len(buffers.message)
            if own:
                buffers.outgoing.view(-1, own)[1:] = buffers.message
        try:
            with self._timeline.span("send", number):
                work = self._group.alltoall_base(
                    buffers.incoming, buffers.outgoing, buffers.out_sizes, buffers.in_sizes
                )
        except RuntimeError as error:
            raise self._lost("a collective", error) from error
        self.counts.collectives += 1
        self.counts.bytes_sent += len(buffers.outgoing)
        return _Sent(work, buffers, number, begin)

    def _receive(self, sent: _Sent, what: str) -> None:
        if sent.work is None:
            return
        begin = time.perf_counter()
        try:
            with self._timeline.span("wait", sent.number):
                sent.work.wait()
        except RuntimeError as error:
            raise self._lost(what, error) from error
        end = time.perf_counter()
        self.counts.wait_seconds += end - begin
        self.counts.seconds += end - sent.begin

    def _lost(self, what: str, error: RuntimeError) -> ExchangeError:
        reason = _LOCATION.sub("", str(error).strip() or repr(error)).splitlines()[0]
        reason = reason.partition(". This is typically")[0].rstrip(".") + "."
        return ExchangeError(
            f"Shard {self.rank} lost its peers in epoch {self.epoch} at {what}: {reason}"
        )
