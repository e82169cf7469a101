"""The shard actor: one device, one model replica and a part of every session's workers."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import ray
import torch
import transformers

from hogwild_dist.actors.errors import is_death, plain
from hogwild_dist.actors.logs import write_structured
from hogwild_dist.actors.metrics import ShardMetrics
from hogwild_dist.actors.settings import ShardSettings
from hogwild_dist.actors.shard.driver_link import DriverLink
from hogwild_dist.engine.commands import Command, Inbox
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.shard_runner import Listeners, Opening, ShardRunner, Standing
from hogwild_dist.engine.state_transfer import Pages, SavedState
from hogwild_dist.errors import ConfigError, ExchangeError, HogwildError, ModelError, ShardError
from hogwild_dist.exchange.process_group import (
    Membership,
    check_alike,
    pick_backend,
)
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loaded_model import LoadedModel, ModelInfo
from hogwild_dist.model.loader import load_model, load_tokenizer, pick_device
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import RowComparison, replay_fed, replay_free
from hogwild_dist.timeline import Span, Timeline

FINGERPRINT = "weights with the fingerprint"
DTYPE = "dtype"

log = logging.getLogger("hogwild_dist.shard")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """Description of a shard.

    Attributes:
        node: address of the shard's node.
        node_id: Ray's id of the node.
        pid: process id.
        device: device that the shard computes on.
        threads: number of CPU threads.
        model: description of the loaded model.
        configuration: what must be the same on every shard, by the words that errors use for it.
    """

    node: str
    node_id: str
    pid: int
    device: str
    threads: int
    model: ModelInfo
    configuration: Mapping[str, str]

    @property
    def replayed_with(self) -> dict[str, str]:
        """The part of the configuration that the tokens of a session depend on."""
        return {name: self.configuration[name] for name in (DTYPE, FINGERPRINT)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStatus:
    """Sessions, cache and traffic of a shard at one time.

    Attributes:
        sessions: ids of the running sessions.
        free_pages: number of free pages in the shard's cache.
        num_pages: number of pages in the shard's cache.
        collectives: number of collectives the shard took part in.
        bytes_sent: bytes sent to all peers.
    """

    sessions: tuple[int, ...]
    free_pages: int
    num_pages: int
    collectives: int
    bytes_sent: int


class Shard:
    """Ray actor that runs one shard; its control methods answer while `run` is running.

    Args:
        index: index of the shard, used in logs until it has a rank.
        settings: settings shared by all shards.
        group: name of the group, or None.
    """

    def __init__(self, index: int, settings: ShardSettings, group: str | None) -> None:
        self._group = group
        self._settings = settings
        self._inbox = Inbox()
        self._model: LoadedModel | None = None
        self._joined: ShardRunner | None = None
        self._metrics: ShardMetrics | None = None
        self._node: str = ray.util.get_node_ip_address()
        write_structured(group=group, shard=index, node=self._node)

    def node(self) -> str:
        """Return the address of the shard's node."""
        return self._node

    def load(self, shards_on_node: int) -> ShardInfo:
        """Load the model.

        Args:
            shards_on_node: number of shards that share the node's cores.

        Raises:
            ConfigError: a setting does not fit the model; the error names the node.
            ModelError: the model cannot be loaded; the error names the node.
        """
        settings = self._settings
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(settings.threads or max(1, cores // shards_on_node))
        # It would be drawn into Ray's logs.
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        with self._errors_name_node():
            pick_backend(settings.engine.exchange_backend, pick_device(settings.device))
            path = resolve_model(settings.model)
            self._model = load_model(
                path, name=settings.model, device=settings.device, dtype=settings.dtype
            )
            self._tokenizer = load_tokenizer(path)
        log.info("loaded %s on %s", settings.model, self._model.device)
        return ShardInfo(
            node=self._node,
            node_id=ray.get_runtime_context().get_node_id(),
            pid=os.getpid(),
            device=str(self._model.device),
            threads=torch.get_num_threads(),
            model=self._model.info,
            configuration=self._configuration(),
        )

    def join(self, membership: Membership, driver: Any) -> None:
        """Join a new group, or be alone until this shard joins one that is running.

        Args:
            membership: rank of this shard, size of the group and address of its store.
            driver: handle of the driver; rank 0 publishes updates to it.

        Raises:
            ExchangeError: a peer did not join in time, or its software or settings differ.
            ConfigError: there is not enough memory for the KV cache; the error names the node.
        """
        assert self._model is not None, "load the model first"
        self._write_place(membership)
        check_alike(membership, self._configuration())
        link = DriverLink(driver)
        with self._errors_name_node():
            runner = ShardRunner(
                self._model,
                self._tokenizer,
                self._settings.engine,
                inbox=self._inbox,
                place=membership,
                host=self._node,
                listeners=Listeners(
                    publish=link.publish,
                    on_loss=link.lose_peers,
                    observe=self._observe,
                ),
                audit=self._settings.audit,
                timeline=Timeline(enabled=self._settings.timeline),
            )
        self._joined = runner
        if membership.epoch > 0:
            self._measure(membership.rank)
        log.info("joined a group of %d", membership.world_size)

    def run(self) -> int:
        """Step until no session is left, and return the number of the last applied command.

        Raises:
            ShardError: this shard failed.
            ExchangeError: peers are lost and there is no next group, or they disagree.
        """
        try:
            applied = self._runner.run()
            if self._metrics is not None:
                self._metrics.observe_pages()
            return applied
        except HogwildError:
            raise
        except Exception as error:
            if is_death(error):  # nobody else is left to say that the driver died
                log.error("%s", plain(error))
            else:
                log.exception("failed")
            raise ShardError(
                f"Shard {self._runner.exchange.rank} on node {self._node} failed: "
                f"{type(error).__name__}: {error}"
            ) from error

    def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Replay a trace with its own tokens; return the comparisons of this shard's workers."""
        return self._runner.work(lambda: list(replay_fed(trace, self._runner.engine)))

    def replay_free(self, trace: Trace) -> list[list[str]]:
        """Replay a trace with tokens the group chooses; return the differences of each step."""
        return self._runner.work(lambda: list(replay_free(trace, self._runner.engine)))

    @ray.method(concurrency_group="control")
    def command(self, number: int, command: Command) -> None:
        """Receive a command; it is applied once every shard has it."""
        self._inbox.put(number, command)

    @ray.method(concurrency_group="control")
    def status(self) -> ShardStatus:
        """Return the shard's sessions, cache use and traffic."""
        runner = self._runner
        counts, pages = runner.exchange.counts, runner.engine.cache.pages
        return ShardStatus(
            sessions=tuple(runner.loop.sessions),
            free_pages=runner.engine.num_free_pages,
            num_pages=pages.num_pages,
            collectives=counts.collectives,
            bytes_sent=counts.bytes_sent,
        )

    @ray.method(concurrency_group="control")
    def timeline(self) -> list[Span]:
        """Return the timeline spans so far; empty unless the group keeps timelines."""
        return list(self._runner.engine.timeline.spans)

    @ray.method(concurrency_group="control")
    def checksums(self, session: int) -> dict[str, int]:
        """Return the block checksums of an ended session; requires a group that audits."""
        return self._runner.loop.checksums[session]

    @ray.method(concurrency_group="control")
    def freeze(self, epoch: int) -> Standing:
        """Stop before the next round, for a membership of this number; see `ShardRunner.freeze`."""
        return self._runner.freeze(epoch)

    @ray.method(concurrency_group="control")
    def standing(self) -> Standing:
        """Return where this shard stands."""
        return self._runner.standing()

    @ray.method(concurrency_group="forming")
    def form(self, membership: Membership) -> None:
        """Meet the other shards of a new group; see `ShardRunner.form`."""
        self._runner.form(membership)
        self._write_place(membership)
        self._rank = membership.rank

    @ray.method(concurrency_group="control")
    def open(self, opening: Opening) -> None:
        """Go on in the group that was formed last."""
        self._runner.open(opening)
        if self._metrics is None:
            self._measure(self._rank)
        log.info("goes on in epoch %d", opening.epoch)

    @ray.method(concurrency_group="copying")
    def begin_copy(self) -> list[Pages]:
        """Begin a copy of this shard's state; see `StateTransfer`."""
        return self._runner.transfer.begin()

    @ray.method(concurrency_group="copying")
    def read_pages(self, pages: Pages) -> np.ndarray:
        """Return keys and values of some pages."""
        return self._runner.transfer.read_pages(pages)

    @ray.method(concurrency_group="copying")
    def write_pages(self, pages: Pages, data: np.ndarray) -> None:
        """Store keys and values of some pages of a shard whose group this one is to join."""
        self._runner.transfer.write_pages(pages, data)

    @ray.method(concurrency_group="copying")
    def save(self) -> SavedState:
        """Return the rest of this shard's state, which waits between two steps."""
        return self._runner.transfer.save()

    @ray.method(concurrency_group="copying")
    def load_state(self, state: bytes) -> None:
        """Take over the state of a shard whose group this one is to join."""
        self._runner.load(state)

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Return never; the caller learns at once when this process dies."""
        threading.Event().wait()

    def _write_place(self, membership: Membership) -> None:
        """Name rank and epoch in the log from now on."""
        fields = {"shard": membership.rank, "epoch": membership.epoch, "node": self._node}
        write_structured(group=self._group, **fields)

    def _observe(self, outcome: StepOutcome) -> None:
        if self._metrics is not None:
            self._metrics.observe(outcome)

    def _measure(self, rank: int) -> None:
        runner = self._runner
        self._metrics = ShardMetrics(self._group, rank, runner.engine, runner.exchange.counts)

    @property
    def _runner(self) -> ShardRunner:
        assert self._joined is not None, "join a group first"
        return self._joined

    @contextmanager
    def _errors_name_node(self) -> Iterator[None]:
        """Add the node's address to errors that are this shard's own."""
        try:
            yield
        except ExchangeError:
            raise
        except HogwildError as error:
            kind = ConfigError if isinstance(error, ConfigError) else ModelError
            raise kind(f"On node {self._node}: {error}") from error

    def _configuration(self) -> dict[str, str]:
        """Return what must be the same on every shard, by the words that errors use for it."""
        assert self._model is not None, "load the model first"
        return {
            "Python package hogwild-dist": version("hogwild-dist"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "the model": self._model.name,
            FINGERPRINT: self._model.fingerprint,
            DTYPE: str(self._model.dtype),
            "settings": repr(self._settings.engine),
        }
