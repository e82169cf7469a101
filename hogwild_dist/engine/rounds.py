"""Rounds: what all shards of a group do together, one after the other, and how a loss is met.

A round is an exchange after which the shards' state changes: a step, texts that are encoded, or
headers alone. All shards go through the same rounds, and between rounds nothing depends on the
peers. Headers travel in both directions between any two shards, so that no shard completes such a
round before all others have completed the ones before.

A round is completed in one of two ways: together with the peers, or, where others have completed it
already and a peer is lost, alone: what all shards would have computed is computed here, and what
they agreed on comes from who knows it. So sessions, scheduling and cache know nothing of losses.
All shards take their places in the next group right before the same round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hogwild_dist.errors import PeersLostError
from hogwild_dist.exchange.base import AgreedStep, Exchange
from hogwild_dist.exchange.channels import Channels
from hogwild_dist.exchange.torch_dist import TorchDistExchange


@dataclass(frozen=True, slots=True)
class Progress:
    """The rounds that a shard has completed.

    Attributes:
        number: number of completed rounds.
        agreed_in: number of the last round with headers; 0 before the first.
        agreed: what the shards agreed on in it.
    """

    number: int = 0
    agreed_in: int = 0
    agreed: AgreedStep | None = None

    def after(self, outcome: AgreedStep | None) -> "Progress":
        """Return the progress after one more round; its outcome is None if it had no headers."""
        number = self.number + 1
        if outcome is None:
            return Progress(number, self.agreed_in, self.agreed)
        return Progress(number, number, outcome)


@dataclass(frozen=True, kw_only=True, slots=True)
class NextEpoch:
    """A shard's place in the next group.

    Attributes:
        epoch: number of the new membership.
        world_size: number of shards in the new group.
        channels: channels of the new group.
        completed: the most that any shard has completed; the new membership begins after it.
        shown: number of the last publication that was shown to readers.
    """

    epoch: int
    world_size: int
    channels: Channels
    completed: Progress
    shown: int


class Gate(Protocol):
    """Where a shard waits for its place in the next group."""

    @property
    def frozen(self) -> bool:
        """Whether the shard has to wait for its next group before its next round."""

    def wait(self, error: PeersLostError | None) -> Sequence[NextEpoch]:
        """Wait for the next membership.

        Args:
            error: why the next round cannot be completed, or None if the shard was told to wait.

        Returns:
            The memberships since the last one that was returned, in order.

        Raises:
            ShardError: there is no next membership in time.
        """


class Rounds:
    """Completes the rounds of a shard.

    Args:
        exchange: connects the shards of the group.
        gate: where this shard waits after a loss; None lets a loss raise.

    Attributes:
        exchange: the same exchange in every group.
        completed: the rounds completed so far.
        on_epoch: called with a new membership, right before the first round under it.
    """

    STATE = ("completed",)

    def __init__(self, exchange: Exchange, gate: Gate | None = None) -> None:
        self.exchange = exchange
        self.completed = Progress()
        self.on_epoch: Callable[[NextEpoch], None] = lambda _: None
        self.paused = False
        """Whether the shard waits between two steps, where its state can be copied."""
        self._gate = gate
        self._ahead: list[NextEpoch] = []
        """Memberships in which this shard has not taken its place yet."""

    @property
    def next_number(self) -> int:
        """Number of the round that is completed next."""
        return self.completed.number + 1

    def complete(
        self, together: Callable[[], AgreedStep | None], alone: Callable[[], None]
    ) -> AgreedStep | None:
        """Complete a round, and return what the shards agree on; None in a round without headers.

        Args:
            together: completes the round with the peers; it may be called again, with other peers.
            alone: computes here what all shards would have computed.

        Raises:
            PeersLostError: a peer is lost, and there is no gate.
            ShardError: a peer is lost, and there is no next group.
            ExchangeError: the shards disagree.
        """
        while True:
            if self._gate is not None and self._gate.frozen:
                self._leave()  # peers inside the round stop waiting for this shard
                self._ahead += self._gate.wait(None)
            self._enter()
            if self._ahead:
                alone()
                known = self._ahead[-1].completed
                outcome = known.agreed if known.agreed_in == self.next_number else None
                break
            try:
                outcome = together()
                break
            except PeersLostError as error:
                if self._gate is None:
                    raise
                lost = str(error)  # the error itself holds on to the group
            self._leave()
            self._ahead += self._gate.wait(PeersLostError(lost))
        self.completed = self.completed.after(outcome)
        return outcome

    def pause(self, epoch: int) -> None:
        """Wait for the membership after this one, unless it is known already.

        All shards do so after the same round, and none of them is inside another.

        Raises:
            ShardError: there is no next membership in time.
        """
        if self._gate is None or self._ahead or self._epoch != epoch:
            return
        self.paused = True
        try:
            self._ahead += self._gate.wait(None)
        finally:
            self.paused = False

    @property
    def _epoch(self) -> int:
        return self.exchange.epoch if isinstance(self.exchange, TorchDistExchange) else 0

    def _leave(self) -> None:
        if isinstance(self.exchange, TorchDistExchange):
            self.exchange.leave()

    def _enter(self) -> None:
        """Take this shard's place in the memberships that begin before the next round."""
        while self._ahead and self._ahead[0].completed.number < self.next_number:
            following = self._ahead.pop(0)
            assert isinstance(self.exchange, TorchDistExchange), "a process alone has no epochs"
            self.exchange.join(following.channels, following.epoch)  # it may have broken up
            self.on_epoch(following)
