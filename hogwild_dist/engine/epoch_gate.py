"""`EpochGate`: where the loop of a shard waits for its next group, and others let it through."""

import threading
from collections.abc import Callable, Sequence

from hogwild_dist.engine.rounds import NextEpoch
from hogwild_dist.errors import ConfigError, PeersLostError, ShardError


class EpochGate:
    """The gate of a shard's loop; all methods but `wait` are called by other threads.

    Args:
        epoch: number of the first membership.
        on_loss: called by the loop with the epoch in which it has lost its peers, and the error;
            must return at once.
        seconds: time limit for which the loop waits for its next group, in seconds.
    """

    def __init__(
        self, epoch: int, on_loss: Callable[[int, PeersLostError], None], seconds: float
    ) -> None:
        self._epoch = epoch
        self._on_loss = on_loss
        self._seconds = seconds
        self._frozen = False
        self._waiting = False
        self._opened: list[NextEpoch] = []
        self._changed = threading.Condition()

    @property
    def frozen(self) -> bool:
        """Whether the loop has to pass the gate before its next round."""
        return self._frozen or bool(self._opened)

    @property
    def epoch(self) -> int:
        """Number of the newest membership that this shard was told of."""
        return self._epoch

    @property
    def waiting(self) -> bool:
        """Whether the loop waits at the gate."""
        return self._waiting

    def wait(self, error: PeersLostError | None) -> Sequence[NextEpoch]:
        """Wait for the next memberships; called by the loop.

        Args:
            error: why the next round cannot be completed, or None if the loop was told to wait.

        Returns:
            The memberships since the last one that the loop has taken, in order.

        Raises:
            ShardError: there is no next membership in time.
        """
        with self._changed:
            self._waiting = True
            if error is not None and not self.frozen:
                self._on_loss(self._epoch, error)
            in_time = self._changed.wait_for(self._is_open, self._seconds)
            self._waiting = False
            if not in_time:
                reason = str(error or "The shard was told to wait.")
                raise ShardError(f"{reason} No new group was formed in {self._seconds:g} s.")
            opened, self._opened = self._opened, []
            return opened

    def freeze(self, epoch: int) -> None:
        """Stop the loop before its next round, and ignore what older memberships say from now on.

        Raises:
            ConfigError: a newer membership is known already.
        """
        with self._changed:
            if epoch < self._epoch:
                raise ConfigError(f"Epoch {epoch} is over; this shard is in epoch {self._epoch}.")
            self._epoch = epoch
            self._frozen = True

    def open(self, following: NextEpoch) -> None:
        """Let the loop go on under the membership for which it was stopped.

        Raises:
            ConfigError: another membership is expected.
        """
        with self._changed:
            if following.epoch != self._epoch:
                raise ConfigError(
                    f"Epoch {following.epoch} cannot begin; this shard is in epoch {self._epoch}."
                )
            self._opened.append(following)
            self._frozen = False
            self._changed.notify_all()

    def _is_open(self) -> bool:
        return bool(self._opened) and not self._frozen
