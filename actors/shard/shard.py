"""A shard: one device, one replica of the model, a part of every session's workers."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import Any

import ray
import torch
import transformers

from hogwild_dist.actors.logs import write_structured
from hogwild_dist.actors.metrics import ShardMetrics
from hogwild_dist.actors.settings import ShardSettings
from hogwild_dist.engine.commands import Command, Inbox
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, ExchangeError, HogwildError, ModelError
from hogwild_dist.exchange.process_group import Membership, check_alike, form_group
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loaded_model import LoadedModel, ModelInfo
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import RowComparison, replay_fed, replay_free
from hogwild_dist.timeline import Span, Timeline

log = logging.getLogger("hogwild_dist.shard")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """What a shard says of itself.

    Attributes:
        node: its node's address.
        pid: its process.
        device: it computes on.
        threads: CPU threads.
        model: that it has loaded.
    """

    node: str
    pid: int
    device: str
    threads: int
    model: ModelInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStatus:
    """What a shard holds.

    Attributes:
        sessions: ids of those that go on.
        free_pages: of its cache.
        num_pages: of its cache.
        collectives: that it took part in.
        bytes_sent: to all peers together.
    """

    sessions: tuple[int, ...]
    free_pages: int
    num_pages: int
    collectives: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class _Member:
    """What a shard has as a rank of a group."""

    engine: Engine
    exchange: TorchDistExchange
    loop: ShardLoop
    metrics: ShardMetrics


class Shard:
    """Ray actor. Control methods answer while `run` is at work.

    Args:
        index: of the shard.
        settings: the same for all.
        group: name of the group, or None.
    """

    def __init__(self, index: int, settings: ShardSettings, group: str | None) -> None:
        self._group = group
        self._settings = settings
        self._inbox = Inbox()
        self._model: LoadedModel | None = None
        self._joined: _Member | None = None
        self._node: str = ray.util.get_node_ip_address()
        write_structured(group=group, shard=index, node=self._node)

    def node(self) -> str:
        """Its node's address."""
        return self._node

    def load(self, shards_on_node: int) -> ShardInfo:
        """Load the model.

        Raises:
            ModelError: it cannot be loaded; the sentence names the node.
        """
        settings = self._settings
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(settings.threads or max(1, cores // shards_on_node))
        with self._errors_name_node():
            path = resolve_model(settings.model)
            self._model = load_model(
                path, name=settings.model, device=settings.device, dtype=settings.dtype
            )
            self._tokenizer = load_tokenizer(path)
        log.info("loaded %s on %s", settings.model, self._model.device)
        return ShardInfo(
            node=self._node,
            pid=os.getpid(),
            device=str(self._model.device),
            threads=torch.get_num_threads(),
            model=self._model.info,
        )

    def join(self, membership: Membership, driver: Any) -> None:
        """Become a rank of a group.

        Args:
            membership: in the group.
            driver: takes the updates, where this is rank 0.

        Raises:
            ExchangeError: the peers did not come, or are not alike.
            ConfigError: there is no memory for the KV cache; the sentence names the node.
        """
        assert self._model is not None, "the model is loaded before"
        fields = {"shard": membership.rank, "epoch": membership.epoch, "node": self._node}
        write_structured(group=self._group, **fields)
        check_alike(membership, self._configuration())
        group = form_group(membership, self._model.device, self._node)
        config = self._settings.engine
        with self._errors_name_node():
            cache = self._model.new_cache(config.cache_tokens)
        timeline = Timeline(enabled=self._settings.timeline)
        exchange = TorchDistExchange(group, cache, config.visibility, membership.epoch, timeline)
        engine = Engine(
            self._model, self._tokenizer, config, exchange, cache=cache, timeline=timeline
        )

        call_numbers = count()

        def publish(updates: Sequence[Update]) -> None:
            if membership.rank == 0 and updates:
                driver.publish.remote(next(call_numbers), list(updates))

        metrics = ShardMetrics(self._group, membership.rank, engine, exchange.counts)
        audit = self._settings.audit
        loop = ShardLoop(engine, self._inbox, publish, observe=metrics.observe, audit=audit)
        self._joined = _Member(engine, exchange, loop, metrics)
        log.info("joined a group of %d", membership.world_size)

    def run(self) -> int:
        """Step until no session is left; returns the number of the last command carried out.

        Raises:
            ExchangeError: a peer was lost, or this shard failed.
        """
        try:
            applied = self._member.loop.run()
            self._member.metrics.observe_pages()
            return applied
        except HogwildError:
            raise
        except Exception as error:
            log.exception("failed")
            raise ExchangeError(
                f"Shard {self._member.exchange.rank} on node {self._node} failed: "
                f"{type(error).__name__}: {error}"
            ) from error

    def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Feed a trace's tokens on all shards; the comparisons of this shard's workers."""
        return list(replay_fed(trace, self._member.engine))

    def replay_free(self, trace: Trace) -> list[list[str]]:
        """Let the group choose; step by step what came out otherwise than recorded."""
        return list(replay_free(trace, self._member.engine))

    @ray.method(concurrency_group="control")
    def command(self, number: int, command: Command) -> None:
        """Take in a command; it takes effect when every shard has it."""
        self._inbox.put(number, command)

    @ray.method(concurrency_group="control")
    def status(self) -> ShardStatus:
        """What the shard holds."""
        member = self._member
        counts, pages = member.exchange.counts, member.engine.cache.pages
        return ShardStatus(
            sessions=tuple(member.loop.sessions),
            free_pages=member.engine.num_free_pages,
            num_pages=pages.num_pages,
            collectives=counts.collectives,
            bytes_sent=counts.bytes_sent,
        )

    @ray.method(concurrency_group="control")
    def timeline(self) -> list[Span]:
        """Where its time went so far, where the group keeps timelines."""
        return list(self._member.engine.timeline.spans)

    @ray.method(concurrency_group="control")
    def checksums(self, session: int) -> dict[str, int]:
        """Of the blocks of a session that has ended, where the group audits."""
        return self._member.loop.checksums[session]

    @property
    def _member(self) -> _Member:
        assert self._joined is not None, "the group is formed before"
        return self._joined

    @contextmanager
    def _errors_name_node(self) -> Iterator[None]:
        try:
            yield
        except HogwildError as error:
            kind = ConfigError if isinstance(error, ConfigError) else ModelError
            raise kind(f"On node {self._node}: {error}") from error

    def _configuration(self) -> dict[str, str]:
        """What must be the same on every shard."""
        assert self._model is not None, "the model is loaded before"
        return {
            "Python package hogwild-dist": version("hogwild-dist"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "the model": self._model.name,
            "weights with the fingerprint": self._model.fingerprint(),
            "dtype": str(self._model.dtype),
            "settings": repr(self._settings.engine),
        }
