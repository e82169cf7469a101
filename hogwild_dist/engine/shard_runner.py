"""`ShardRunner`: runs an engine as one shard of a group, and then of the next group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.engine.commands import Inbox
from hogwild_dist.engine.containment import shard_errors
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.epoch_gate import EpochGate
from hogwild_dist.engine.outbox import Outbox, Publication
from hogwild_dist.engine.rounds import NextEpoch, Progress
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.state_transfer import StateTransfer
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, PeersLostError
from hogwild_dist.exchange.channels import Channels
from hogwild_dist.exchange.process_group import Membership, form_group
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.timeline import Timeline

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a shard stands that was told to stop.

    Attributes:
        completed: the rounds that it has completed; None if it has not stopped yet.
        command: the highest command id up to which it holds every command.
        paused: whether it waits between two steps, where its state can be copied.
    """

    completed: Progress | None
    command: int
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """How the shards of a new group go on.

    Attributes:
        epoch: number of the membership.
        completed: the most that any of them has completed, or that was shown to readers.
        shown: number of the last publication that was shown.
    """

    epoch: int
    completed: Progress
    shown: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listeners:
    """Whom a shard tells what happens; all are called in the thread of its loop.

    Attributes:
        publish: called with what is to be published, on the shard that publishes.
        on_loss: called with the epoch in which peers are lost, and the error; must return at once.
        observe: called with the outcome of every step, for metrics.
    """

    publish: Callable[[Publication], None]
    on_loss: Callable[[int, PeersLostError], None]
    observe: Callable[[StepOutcome], None] = lambda _: None


class ShardRunner:
    """Runs one shard of a group. `run` belongs to one thread; the other methods may run beside it.

    Args:
        model: the loaded model.
        tokenizer: the model's fast tokenizer.
        config: settings of the engine.
        inbox: receives the commands for all shards.
        place: first membership.
        host: this machine's address as the peers see it.
        listeners: whom to tell what happens.
        audit: whether to keep a checksum of every block of each ended session.
        timeline: records the spans of every step.

    Raises:
        ExchangeError: a peer did not join in time.
        ConfigError: there is not enough memory for the cache.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: EngineConfig,
        *,
        inbox: Inbox,
        place: Membership,
        host: str,
        listeners: Listeners,
        audit: bool = False,
        timeline: Timeline | None = None,
    ) -> None:
        self._model = model
        self._host = host
        self._inbox = inbox
        self._running = False
        self._loaded = False
        self._formed: tuple[Membership, Channels] | None = None
        channels = form_group(place, model.device, host, config.exchange_backend)
        cache = model.new_cache(config.cache_tokens)
        timeline = timeline or Timeline()
        self.exchange = TorchDistExchange(channels, cache, config.visibility, place.epoch, timeline)
        patience = 3 * place.timeout_seconds
        self.gate = EpochGate(place.epoch, listeners.on_loss, patience)
        goes_on = config.visibility is not Visibility.OVERLAPPED
        self.engine = Engine(
            model,
            tokenizer,
            config,
            self.exchange,
            cache=cache,
            timeline=timeline,
            gate=self.gate if goes_on else None,
        )
        self.engine.rounds.on_epoch = self._enter
        self._outbox = Outbox(listeners.publish)
        self.loop = ShardLoop(
            self.engine, inbox, self._emit, observe=listeners.observe, audit=audit
        )
        self.transfer = StateTransfer(self.engine, self.loop, inbox, self._outbox)

    def run(self) -> int:
        """Step until no session is left; see `ShardLoop.run`."""
        loaded, self._loaded = self._loaded, False
        return self.work(self.loop.go_on if loaded else self.loop.run)

    def load(self, state: bytes) -> None:
        """Take over the state of a shard of the group that this one is to join."""
        self.transfer.load(state)
        self._loaded = True

    def work(self, job: Callable[[], T]) -> T:
        """Do what completes rounds; this shard has stopped when it is done, or at the gate."""
        self._running = True
        try:
            return job()
        finally:
            self._running = False

    def freeze(self, epoch: int) -> Standing:
        """Stop before the next round, for a membership of this number; see `EpochGate.freeze`."""
        self.gate.freeze(epoch)
        self._formed = None
        return self.standing()

    def standing(self) -> Standing:
        """Return where this shard stands."""
        stopped = self.gate.waiting or not self._running
        return Standing(
            completed=self.engine.rounds.completed if stopped else None,
            paused=self.engine.rounds.paused,
            command=self._inbox.highest,
        )

    def form(self, place: Membership) -> None:
        """Meet the other shards of a new group, and wait for its opening.

        Raises:
            ShardError: this shard's device has failed.
            ExchangeError: a peer did not come in time.
            ConfigError: a newer membership has begun meanwhile.
        """
        backend, device = self.engine.config.exchange_backend, self._model.device
        with shard_errors(place.rank):
            torch.zeros(1, device=device).item()
        channels = form_group(place, device, self._host, backend)
        if place.epoch != self.gate.epoch:
            raise ConfigError(f"Epoch {place.epoch} is over.")
        self._formed = place, channels

    def open(self, opening: Opening) -> None:
        """Go on in the group that was formed last.

        Raises:
            ConfigError: another membership has begun meanwhile.
        """
        if self._formed is None or self._formed[0].epoch != opening.epoch:
            raise ConfigError(f"Epoch {opening.epoch} is over.")
        (place, channels), self._formed = self._formed, None
        self.gate.open(
            NextEpoch(
                epoch=place.epoch,
                world_size=place.world_size,
                channels=channels,
                completed=opening.completed,
                shown=opening.shown,
            )
        )

    def _emit(self, updates: Sequence[Update]) -> None:
        exchange, completed = self.exchange, self.engine.rounds.completed
        self._outbox.put(exchange.epoch, completed, updates, publishes=exchange.rank == 0)

    def _enter(self, following: NextEpoch) -> None:
        """Take this shard's place in a new group."""
        self.engine.move_workers(following.world_size)
        if self.exchange.rank == 0 and self.exchange.epoch == following.epoch:
            self._outbox.resume(following.epoch, following.shown)
