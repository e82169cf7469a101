"""What a group of shards is started with."""

from dataclasses import dataclass, field
from enum import Enum

from hogwild_dist.config import EngineConfig
from hogwild_dist.errors import ConfigError

NAMESPACE = "hogwild-dist"
"""Ray namespace of drivers and shards, so that a second client finds them by name."""


class Spread(Enum):
    """How shards lie on nodes."""

    PACK = "pack"
    """Few nodes, so that NCCL stays within one where it can."""

    SPREAD = "spread"
    """Many nodes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSettings:
    """What every shard is started with.

    Attributes:
        model: a cached name, a hub id, a directory or a .gguf file, on the shard's own node.
        device: `cpu` or `cuda`; None picks a GPU where Ray gave one.
        dtype: None picks bfloat16 on a GPU and float32 on a CPU.
        engine: sizes and visibility.
        threads: CPU threads of a shard; None divides the node's cores among its shards.
        timeout_seconds: a collective gives up after it.
        audit: whether to keep a checksum of every block of a session that has ended.
        timeline: whether to keep the spans of every step.
    """

    model: str
    device: str | None = None
    dtype: str | None = None
    engine: EngineConfig = field(default_factory=EngineConfig)
    threads: int | None = None
    timeout_seconds: float = 60.0
    audit: bool = False
    timeline: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSettings:
    """What a driver starts.

    Attributes:
        num_shards: how many.
        shard: what each is started with.
        spread: over the nodes.
        cpus_per_shard: that Ray sets aside for each; may be a fraction.
        gpus_per_shard: likewise; None is one where the cluster has GPUs and the device is not
            `cpu`.
        wait_seconds: how long to wait for nodes that an autoscaler may bring.
        lease_seconds: a session whose client has not asked for so long is cancelled.
        kept_sessions: that have ended and can still be read.
        orphan_seconds: a group ends itself when no service has looked after it for so long; None
            is never.
        log_texts: whether the log names the beginnings of problems.
    """

    num_shards: int
    shard: ShardSettings
    spread: Spread = Spread.PACK
    cpus_per_shard: float = 1.0
    gpus_per_shard: int | None = None
    wait_seconds: float = 0.0
    lease_seconds: float = 60.0
    kept_sessions: int = 100
    orphan_seconds: float | None = None
    log_texts: bool = False

    def __post_init__(self) -> None:
        for name, value, good, allowed in (
            ("shards", self.num_shards, 1 <= self.num_shards <= 64, "from 1 to 64"),
            ("cpus_per_shard", self.cpus_per_shard, self.cpus_per_shard >= 0, "0 or more"),
            ("wait_seconds", self.wait_seconds, self.wait_seconds >= 0, "0 or more"),
            ("lease_seconds", self.lease_seconds, self.lease_seconds > 0, "above 0"),
            ("kept_sessions", self.kept_sessions, self.kept_sessions >= 0, "0 or more"),
            (
                "orphan_seconds",
                self.orphan_seconds,
                self.orphan_seconds is None or self.orphan_seconds > 0,
                "above 0",
            ),
            (
                "gpus_per_shard",
                self.gpus_per_shard,
                self.gpus_per_shard in {None, 0, 1},
                "0 or 1, since a shard owns one device",
            ),
        ):
            if not good:
                raise ConfigError(f"{name} is {value}; it must be {allowed}.")
