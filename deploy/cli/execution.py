"""Backends of the commands: an engine in this process, or a group of shards."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import ray
import torch

from hogwild_dist import Engine
from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, ShardSettings, check_group_name
from hogwild_dist.config import SamplingConfig
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.deploy.cli.options.sampling import SamplingOptions
from hogwild_dist.deploy.cli.progress import fetch_with_progress, progress_lines
from hogwild_dist.errors import ConfigError
from hogwild_dist.model.loaded_model import ModelInfo
from hogwild_dist.run.load import LoadSettings, load_engine


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionTarget:
    """Where a command's sessions run.

    Attributes:
        load_settings: what the engine, or each shard's, is loaded with.
        placement: number of shards; None is this process, or a shard for each of several GPUs.
        address: address of a Ray cluster; None starts Ray on this machine if there are shards.
        name: name of the new group, which then outlives the command.
        attach: name of a running group.
        timeline: whether to record the time of every step.
        journal: folder or URL in which a group with a name keeps its sessions, or None.
    """

    load_settings: LoadSettings
    placement: ShardOptions = field(default_factory=ShardOptions)
    address: str | None = None
    name: str | None = None
    attach: str | None = None
    timeline: bool = False
    journal: str | None = None

    def __post_init__(self) -> None:
        for name in (self.name, self.attach):
            if name is not None:
                check_group_name(name)
        if self.name is not None and self.address is None:
            raise ConfigError(
                f"The group {self.name!r} needs a Ray cluster that outlives this command; start "
                "one with `ray start --head` and add --address auto."
            )

    @property
    def distributed(self) -> bool:
        """Whether sessions run on shards."""
        return (
            self.placement.shards is not None
            or self.address is not None
            or self.attach is not None
            or (self.load_settings.device is None and torch.cuda.device_count() > 1)
        )


@contextmanager
def backend(target: ExecutionTarget) -> Iterator[Engine | ShardGroup]:
    """Yield an engine or a group of shards; a group without a name ends with the block."""
    if not target.distributed:
        fetch_with_progress(target.load_settings.model)
        engine = load_engine(target.load_settings)
        engine.timeline.enabled = target.timeline
        yield engine
        return
    with group(target) as shards:
        yield shards


@contextmanager
def group(target: ExecutionTarget) -> Iterator[ShardGroup]:
    """Yield new shards, or the running group that the target attaches to."""
    if target.attach is not None:
        with connected(target.address or "auto"), ShardGroup.attach(target.attach) as shards:
            yield shards
        return
    with start_group(target) as shards:
        yield shards


@contextmanager
def start_group(target: ExecutionTarget) -> Iterator[ShardGroup]:
    """Yield new shards; a group without a name ends with the block."""
    if target.address is None:
        fetch_with_progress(target.load_settings.model)
    with progress_lines() as tell:
        tell("starting Ray" if target.address is None else f"reaching Ray at {target.address}")
        with connected(target.address, target.placement.shards or torch.cuda.device_count()):
            shards = ShardGroup.start(_settings(target), name=target.name, tell=tell)
            tell("")
            with shards:
                yield shards


def _settings(target: ExecutionTarget) -> GroupSettings:
    placement = target.placement
    return GroupSettings(
        num_shards=placement.shards or _shards_of_cluster(),
        shard=ShardSettings.loading(target.load_settings, timeline=target.timeline),
        spread=placement.spread,
        cpus_per_shard=placement.cpus_per_shard,
        wait_seconds=placement.wait_for_nodes,
        journal=target.journal,
    )


def _shards_of_cluster() -> int:
    """Return one shard per GPU, or one per node if there are no GPUs."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return gpus or sum(node["Alive"] for node in ray.nodes())


def model_sampling(options: SamplingOptions, model: ModelInfo) -> SamplingConfig:
    """Return the sampling of a run, and tell the user where it is the model's."""
    if model.sampling is None:
        return options.config()
    sampling = options.config(model.sampling)
    if sampling != options.config() and sampling.temperature:
        changed = {**asdict(sampling), "forbidden_ids": (), "logit_bias": {}}
        default = asdict(SamplingConfig())
        shown = ", ".join(f"{k} {v:g}" for k, v in changed.items() if v != default[k])
        print(f"hogwild: sampling, with what {model.name} recommends: {shown}", file=sys.stderr)
    return sampling
