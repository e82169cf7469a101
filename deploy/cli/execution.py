"""Where sessions run: in this process, or on a group of shards."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import ray
import torch
from rich.console import Console

from hogwild_dist import Engine, EngineConfig, load
from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, ShardSettings, Spread
from hogwild_dist.deploy.cli.commands.models import fetch_with_progress
from hogwild_dist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionTarget:
    """What the command line says about it.

    Attributes:
        model: a cached name, a hub id, a directory or a .gguf file.
        device: `cpu`, `cuda`, ...; None picks.
        dtype: None picks.
        threads: CPU threads, of each shard where there are shards.
        config: of the engines.
        shards: how many; None is this process, or one a GPU where there are several.
        address: of a Ray cluster; None starts Ray on this machine where it is needed.
        name: lets the group outlive the command.
        attach: name of a group that runs already.
        spread: of the shards over the nodes.
        cpus_per_shard: that Ray sets aside.
        wait_for_nodes: seconds.
        timeline: whether to keep where the time goes.
    """

    model: str
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    config: EngineConfig = field(default_factory=EngineConfig)
    shards: int | None = None
    address: str | None = None
    name: str | None = None
    attach: str | None = None
    spread: Spread = Spread.PACK
    cpus_per_shard: float = 1.0
    wait_for_nodes: float = 0.0
    timeline: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}; it must be at least 1.")
        if self.shards is not None and self.shards < 1:
            raise ConfigError(f"shards is {self.shards}; it must be at least 1.")
        if self.name is not None and self.address is None:
            raise ConfigError(
                f"The group {self.name!r} is to outlive this command, and so must Ray: start it "
                "with `ray start --head` and add --address auto."
            )

    @property
    def distributed(self) -> bool:
        """Whether sessions run on shards."""
        return (
            self.shards is not None
            or self.address is not None
            or self.attach is not None
            or (self.device is None and torch.cuda.device_count() > 1)
        )


@contextmanager
def backend(target: ExecutionTarget) -> Iterator[Engine | ShardGroup]:
    """Make ready what computes sessions, and end it again unless it has a name."""
    if not target.distributed:
        set_threads(target.threads)
        fetch_with_progress(target.model)
        engine = load(target.model, device=target.device, dtype=target.dtype, config=target.config)
        engine.timeline.enabled = target.timeline
        yield engine
        return
    with group(target) as shards:
        yield shards


@contextmanager
def group(target: ExecutionTarget) -> Iterator[ShardGroup]:
    """The shards that `where` asks for, or those that it names."""
    if target.attach is not None:
        with connected(target.address or "auto"), ShardGroup.attach(target.attach) as shards:
            yield shards
        return
    with start_group(target) as shards:
        yield shards


@contextmanager
def start_group(target: ExecutionTarget) -> Iterator[ShardGroup]:
    """New shards; those without a name end with the block."""
    if target.address is None:
        fetch_with_progress(target.model)
    with progress_lines() as tell:
        tell("starting Ray" if target.address is None else f"reaching Ray at {target.address}")
        with connected(target.address, target.shards or torch.cuda.device_count()):
            shards = ShardGroup.start(_settings(target), name=target.name, tell=tell)
            tell("")
            with shards:
                yield shards


def _settings(target: ExecutionTarget) -> GroupSettings:
    return GroupSettings(
        num_shards=target.shards or _shards_of_cluster(),
        shard=ShardSettings(
            model=target.model,
            device=target.device,
            dtype=target.dtype,
            engine=target.config,
            threads=target.threads,
            timeline=target.timeline,
        ),
        spread=target.spread,
        cpus_per_shard=target.cpus_per_shard,
        wait_seconds=target.wait_for_nodes,
    )


def _shards_of_cluster() -> int:
    """One for each GPU, or for each node where there is none."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return gpus or sum(node["Alive"] for node in ray.nodes())


@contextmanager
def progress_lines() -> Iterator[Callable[[str], None]]:
    """Show on standard error what is being waited for: a spinner in a terminal, else lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: print(f"hogwild: {line}", file=sys.stderr) if line else None
        return
    status = console.status("")

    def tell(line: str) -> None:
        if line:
            status.update(line)
            status.start()
        else:
            status.stop()

    try:
        yield tell
    finally:
        status.stop()


def set_threads(threads: int | None) -> None:
    """Let torch use this many CPU threads in this process."""
    if threads is not None:
        torch.set_num_threads(threads)
