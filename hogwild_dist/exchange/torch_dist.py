"""The exchange over torch.distributed: NCCL between GPUs, gloo between CPUs.

Every collective is one ``all_to_all_single`` with uneven splits: each rank sends the same bytes to
every other rank. All ranks compute the sizes from what they agree on, so no size is sent.

| visibility   | collectives a step                                                        |
|--------------|---------------------------------------------------------------------------|
| `same-step`  | one a layer (K and V of the layer), and one for the headers               |
| `next-step`  | one: header and all layers                                                |
| `overlapped` | one: header and all layers, sent while the next step computes             |

With channels of their own, headers travel beside the K and V of their step, in one collective more
under `next-step` and `overlapped`. On GPUs they always do: a header is written and read by the
host, and on the way over a device it would make the host wait for all that the device still has
to do.

Under `same-step`, a layer is sent while attention reads the older keys. NCCL runs collectives on
its own stream; gloo runs them on its own thread.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.config import Visibility
from hogwild_dist.exchange import staging, wire
from hogwild_dist.exchange.base import AgreedStep, StepPlan, StepReport, combine_reports
from hogwild_dist.exchange.bounded import let_go
from hogwild_dist.exchange.channels import Channels
from hogwild_dist.exchange.collectives import Collectives, ExchangeCounts, Sent
from hogwild_dist.exchange.stages import Shape, Stage, StagePool
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.page_allocator import ceil_div
from hogwild_dist.kvcache.upload import upload
from hogwild_dist.timeline import Timeline

_OF_AN_EPOCH = ("_channels", "_collectives", "_stages", "_header_stages", "_layer", "_posted")
"""What holds process groups, or buffers that a collective may still write."""


@dataclass(frozen=True, slots=True)
class _Posted:
    """A step whose reports are in flight.

    Attributes:
        report: this rank's report.
        slots: for each rank, ``[num_tokens]`` slots of the tokens that it feeds.
        headers: the collective with the headers; None in a group of one.
        tensors: the collective with K and V, which may be the same; None if none are sent.
    """

    report: StepReport
    slots: Sequence[Tensor]
    headers: Sent | None
    tensors: Sent | None


class TorchDistExchange:
    """Exchanges K and V with the other ranks of a group.

    Args:
        channels: what the exchange travels over, from `form_group`.
        cache: cache of this rank.
        visibility: when rows see the others' new tokens; the same on every rank.
        epoch: number of the membership.
        timeline: records the spans of sending and waiting.

    Attributes:
        rank: rank of this process in the group.
        world_size: number of processes in the group.
        epoch: number of the membership.
        counts: totals of all epochs.
    """

    rank: int
    world_size: int
    epoch: int

    def __init__(
        self,
        channels: Channels,
        cache: KVCache,
        visibility: Visibility,
        epoch: int,
        timeline: Timeline | None = None,
    ) -> None:
        self.visibility = visibility
        self.counts = ExchangeCounts()
        self._timeline = timeline or Timeline()
        self._cache = cache
        self._device = cache.keys[0].device
        self._layers = range(len(cache.keys))
        self._step_layers = range(0) if visibility is Visibility.SAME_STEP else self._layers
        self.join(channels, epoch)

    def join(self, channels: Channels, epoch: int) -> None:
        """Go on in another group; what is in flight in the one before is given up.

        Args:
            channels: channels of the group.
            epoch: number of its membership.
        """
        self.leave()
        self.rank = channels.tensors.group.rank()
        self.world_size = channels.tensors.group.size()
        self.epoch = epoch
        self._channels = channels
        self._collectives = Collectives(channels, epoch, self._timeline, self.counts)
        peers = [rank for rank in range(self.world_size) if rank != self.rank]
        self._nothing = (0,) * self.world_size
        self._stages = StagePool(self._cache, self.rank, peers, self._device)
        self._header_stages = StagePool(self._cache, self.rank, peers, torch.device("cpu"))
        self._plan: StepPlan | None = None
        self._slots: Sequence[Tensor] = ()
        self._layer_stage: Stage | None = None
        self._layer: Sent | None = None
        self._posted: deque[_Posted] = deque()

    def leave(self) -> None:
        """Close the connections to the peers, who then learn at once that this rank has given up.

        They may wait for what it never sends, while their connection to a lost peer tells nothing.
        """
        let_go([vars(self).pop(name, None) for name in _OF_AN_EPOCH])

    def begin(self, plan: StepPlan) -> None:
        """Begin a step in which the ranks feed what the plan says."""
        self._plan = plan
        self._slots = upload(plan.slots, torch.long, self._device)
        if self.visibility is Visibility.SAME_STEP:
            one_layer = self._layers[:1]  # every layer has its size
            self._layer_stage = self._stages.take(self._shape(plan.slots, one_layer))

    def send_layer(self, layer: int) -> None:
        """Send this rank's new K and V of `layer` from the cache, under `same-step`."""
        stage = self._layer_stage
        if stage is not None:
            staging.pack(self._cache, (layer,), self._slots[self.rank], stage.mine)
            self._layer = self._collectives.send(self._channels.tensors, stage, f"layer {layer}")

    def receive_layer(self, layer: int) -> None:
        """Wait until the peers' new K and V of `layer` are in the cache, under `same-step`."""
        sent, self._layer = self._layer, None
        if sent is not None:
            self._collectives.wait(sent)
            self._unpack((layer,), self._slots, sent.stage)
            if layer == self._layers[-1]:
                self._collectives.catch_up()

    def post(self, report: StepReport) -> None:
        """Send this rank's report of the step that was begun."""
        assert self._plan is not None, "no step was begun"
        if self._layer_stage is not None:
            self._stages.give_back(self._layer_stage)
            self._layer_stage = None
        if self._channels.headers is None:
            posted = self._post_together(self._plan, report)
        else:
            posted = self._post_apart(self._plan, report)
        self._posted.append(posted)

    def collect(self) -> AgreedStep:
        """Wait for all reports of the oldest step that was posted and not collected."""
        posted = self._posted.popleft()
        reports = self._read_reports(posted)
        if posted.tensors is not None:
            if posted.tensors is not posted.headers:
                self._collectives.finish(posted.tensors)
            self._unpack(self._step_layers, posted.slots, posted.tensors.stage)
            self._stages.give_back(posted.tensors.stage)
        return combine_reports(reports)

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Send K and V of some slots of each rank to all ranks, outside of a step."""
        stage = self._stages.take(self._shape(slots, self._layers))
        if stage is None:
            return
        places = upload(slots, torch.long, self._device)
        staging.pack(self._cache, self._layers, places[self.rank], stage.mine)
        sent = self._collectives.send(self._channels.tensors, stage, "a shared block")
        self._collectives.finish(sent)
        self._unpack(self._layers, places, stage)
        self._stages.give_back(stage)

    def _post_together(self, plan: StepPlan, report: StepReport) -> _Posted:
        """Send header, K and V in one collective."""
        shape = self._shape(plan.slots, self._step_layers, self._header_sizes(plan))
        stage = self._stages.take(shape)
        sent = None
        if stage is not None:
            self._write_header(stage, report)
            staging.pack(self._cache, self._step_layers, self._slots[self.rank], stage.mine)
            sent = self._collectives.send(self._channels.tensors, stage, _name(report))
        return _Posted(report, self._slots, sent, sent)

    def _post_apart(self, plan: StepPlan, report: StepReport) -> _Posted:
        """Send K and V over their channel, and the header over its own."""
        assert self._channels.headers is not None
        sent = header = None
        stage = self._stages.take(self._shape(plan.slots, self._step_layers))
        if stage is not None:
            staging.pack(self._cache, self._step_layers, self._slots[self.rank], stage.mine)
            sent = self._collectives.send(self._channels.tensors, stage, _name(report))
        header_shape = self._shape(plan.slots, range(0), self._header_sizes(plan))
        header_stage = self._header_stages.take(header_shape)
        if header_stage is not None:
            self._write_header(header_stage, report)
            header = self._collectives.send(self._channels.headers, header_stage, _name(report))
        return _Posted(report, self._slots, header, sent)

    def _read_reports(self, posted: _Posted) -> list[StepReport]:
        """Wait for the headers of a step, and return the reports in the order of the ranks."""
        if posted.headers is None:
            return [posted.report]
        self._collectives.finish(posted.headers)
        reports = [
            posted.report if rank == self.rank else self._read_header(head, posted, rank)
            for rank, head in enumerate(posted.headers.stage.heads)
        ]
        if posted.headers is not posted.tensors:
            self._header_stages.give_back(posted.headers.stage)
        return reports

    def _read_header(self, head: Tensor, posted: _Posted, rank: int) -> StepReport:
        return wire.unpack_header(
            head.numpy().tobytes(),
            epoch=self.epoch,
            step=posted.report.step,
            rank=rank,
            state=posted.report.state,
            num_tokens=len(posted.slots[rank]),
        )

    def _write_header(self, stage: Stage, report: StepReport) -> None:
        own = len(self._slots[self.rank])
        header = wire.pack_header(report, self.epoch, self.rank, own)
        stage.write_header(header, stage.shape.heads[self.rank])

    def _header_sizes(self, plan: StepPlan) -> tuple[int, ...]:
        """Return the sizes of the headers, rounded up so that K and V after them are aligned."""
        return tuple(
            ceil_div(wire.header_bytes(rows, recorded), 16) * 16
            for rows, recorded in zip(plan.num_rows, plan.num_recorded, strict=True)
        )

    def _shape(
        self,
        slots: Sequence[Sequence[int]],
        layers: range,
        heads: tuple[int, ...] | None = None,
    ) -> Shape:
        num_tokens = tuple(map(len, slots)) if layers else self._nothing
        return Shape(heads or self._nothing, num_tokens, layers)

    def _unpack(self, layers: Sequence[int], slots: Sequence[Tensor], stage: Stage) -> None:
        for rank, parts in enumerate(stage.parts):
            if rank != self.rank:
                staging.unpack(self._cache, layers, slots[rank], parts)


def _name(report: StepReport) -> str:
    return f"step {report.step}"
