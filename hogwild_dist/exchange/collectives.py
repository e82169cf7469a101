"""Collectives: sending to all peers, waiting for theirs, and what a lost peer means.

A collective of gloo fails on the host: its `wait` blocks, and raises if a peer is lost or late.
NCCL's `wait` only makes the device's stream wait, so the host looks whether a collective has ended,
up to a time limit, and then aborts it. An aborted collective ends like any other, with buffers that
are half filled; since nothing else aborts (`environment.leave_aborts_to_the_exchange`), whatever
has ended before is whole.
"""

import re
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hogwild_dist.errors import PeersLostError
from hogwild_dist.exchange.bounded import within
from hogwild_dist.exchange.channels import Channel, Channels
from hogwild_dist.exchange.stages import Stage
from hogwild_dist.timeline import Timeline

ABORT_SECONDS = 10.0
"""Time limit of an abort, which can itself wait for a lost peer."""

POLL_SECONDS = 20e-6
"""Pause between two looks at a collective on a device."""

MOST_AHEAD = 2
"""Collectives by which the host may be ahead of the device. If it went on while a peer is lost, it
would fill the device's queue and be stuck there, where no time limit applies."""

_LOCATION = re.compile(r"^\[[^\]]*\] ")
"""The source location with which gloo's errors begin."""


@dataclass(slots=True)
class ExchangeCounts:
    """Totals of an exchange.

    Attributes:
        collectives: number of collectives.
        bytes_sent: bytes sent to all peers together, including headers.
        seconds: seconds from sending until the host knew of the end, including overlapped compute.
        wait_seconds: seconds for which the host waited.
    """

    collectives: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A collective in flight.

    Attributes:
        work: PyTorch's handle.
        channel: channel of the collective.
        stage: buffers of the collective, which must live until it has ended.
        what: what it carries, for errors.
        number: number of the collective.
        begin: time at which it was sent, in seconds of the performance counter.
    """

    work: Any
    channel: Channel
    stage: Stage
    what: str
    number: int
    begin: float


class Collectives:
    """Runs the collectives of a rank.

    All methods raise `PeersLostError` if a peer is lost or too late. From then on the exchange is
    broken: what is in flight on a device is aborted, and every later call raises.

    Args:
        channels: the channels.
        epoch: number of the membership.
        timeline: records the spans of sending and waiting.
        counts: totals to add to.
    """

    def __init__(
        self, channels: Channels, epoch: int, timeline: Timeline, counts: ExchangeCounts
    ) -> None:
        self._counts = counts
        self._channels = channels
        self._rank: int = channels.tensors.group.rank()
        self._epoch = epoch
        self._timeline = timeline
        self._ahead: deque[Sent] = deque()
        self._broken: str | None = None

    def send(self, channel: Channel, stage: Stage, what: str) -> Sent:
        """Send the message of a stage to every peer and receive theirs, without waiting.

        Args:
            channel: channel to use.
            stage: the buffers, with this rank's message in them.
            what: what the collective carries, for errors.
        """
        self._check()
        number, begin = self._counts.collectives, time.perf_counter()
        try:
            with self._timeline.span("send", number):
                stage.repeat_message()
                work = channel.group.alltoall_base(
                    stage.incoming, stage.outgoing, stage.out_sizes, stage.in_sizes
                )
        except RuntimeError as error:
            raise self._lost(what, error) from error
        self._counts.collectives += 1
        self._counts.bytes_sent += len(stage.outgoing)
        return Sent(work, channel, stage, what, number, begin)

    def wait(self, sent: Sent) -> None:
        """Let what this rank computes from now on come after a collective.

        On a device the host goes on, a few collectives ahead; `catch_up` ends that.
        """
        if not sent.channel.on_stream:
            self.finish(sent)
            return
        self._check()
        try:
            sent.work.wait()
        except RuntimeError as error:
            raise self._lost(sent.what, error) from error
        self._ahead.append(sent)
        if len(self._ahead) > MOST_AHEAD:
            self.finish(self._ahead.popleft())

    def catch_up(self) -> None:
        """Wait on the host until every collective that `wait` has been called for has ended."""
        while self._ahead:
            self.finish(self._ahead.popleft())

    def finish(self, sent: Sent) -> None:
        """Wait on the host until a collective has ended."""
        self._check()
        begin = time.perf_counter()
        try:
            with self._timeline.span("wait", sent.number):
                if sent.channel.on_stream:
                    _until_completed(sent)
                sent.work.wait()  # raises what was found on a device, which has ended by now
        except (RuntimeError, TimeoutError) as error:
            raise self._lost(sent.what, error) from error
        end = time.perf_counter()
        self._counts.wait_seconds += end - begin
        self._counts.seconds += end - sent.begin

    def _check(self) -> None:
        if self._broken is not None:
            raise PeersLostError(self._broken)

    def _lost(self, what: str, error: Exception) -> PeersLostError:
        reason = _LOCATION.sub("", str(error).strip() or repr(error)).splitlines()[0]
        reason = reason.partition(". This is typically")[0].rstrip(".") + "."
        self._broken = (
            f"Shard {self._rank} lost its peers in epoch {self._epoch} at {what}: {reason}"
        )
        if self._channels.tensors.on_stream:
            self._abort()
        return PeersLostError(self._broken)

    def _abort(self) -> None:
        """Release the device from collectives that no peer may ever answer."""
        with suppress(RuntimeError, TimeoutError):  # the lost peer is reported in any case
            within(ABORT_SECONDS, self._channels.tensors.group.abort)


def _until_completed(sent: Sent) -> None:
    """Wait on the host for a collective on a device.

    Raises:
        TimeoutError: it has not ended within the time limit of its channel.
    """
    deadline = time.perf_counter() + sent.channel.timeout_seconds
    while not sent.work.is_completed():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no answer within {sent.channel.timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
