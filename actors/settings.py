"""Settings of a group of shards."""

import re
from dataclasses import dataclass, fields
from enum import Enum
from math import inf
from typing import Any, Self

from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings

NAMESPACE = "hogwild-dist"
"""Ray namespace of drivers and shards, where other clients find them by name."""

GROUP_NAME = re.compile(r"\w[\w.-]{0,63}")
"""Form of a group's name. Its shards are named after it, with a slash."""

MAX_TIMEOUT_SECONDS = 86_400
"""Longest time limit of a collective."""


def check_group_name(name: str) -> None:
    """Refuse a name that no group can have.

    Raises:
        ConfigError: the name has another form.
    """
    if not GROUP_NAME.fullmatch(name):
        raise ConfigError(
            f"The group name {name[:80]!r} cannot be used; use 1 to 64 letters, digits, '_', '-' "
            "and '.', with a letter, digit or '_' first."
        )


class Spread(Enum):
    """How shards are distributed over nodes."""

    PACK = "pack"
    """As few nodes as possible, so that NCCL stays within a node."""

    SPREAD = "spread"
    """As many nodes as possible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSettings(LoadSettings):
    """Settings shared by all shards of a group; each finds the model on its own node.

    Attributes:
        timeout_seconds: time limit of a collective, in seconds.
        audit: whether to keep a checksum of every block of an ended session.
        timeline: whether to keep the timeline spans of every step.

    Raises:
        ConfigError: a number is out of range.
    """

    timeout_seconds: float = 60.0
    audit: bool = False
    timeline: bool = False

    def __post_init__(self) -> None:
        LoadSettings.__post_init__(self)
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ConfigError(
                f"timeout_seconds is {self.timeout_seconds}; it must be above 0 and at most "
                f"{MAX_TIMEOUT_SECONDS}."
            )

    @classmethod
    def loading(cls, settings: LoadSettings, **own: Any) -> Self:
        """Return settings that load the same engine on every shard.

        Args:
            settings: what the engine is loaded with.
            own: the shards' own settings.
        """
        return cls(**{one.name: getattr(settings, one.name) for one in fields(settings)}, **own)


MOST_SHARDS = 64
"""Most shards of a group."""

KEPT_BYTES = 512 * 2**20
"""Bytes of a driver's memory for sessions, by default."""


def check_num_shards(count: int) -> None:
    """Check the number of shards of a group.

    Raises:
        ConfigError: it is out of range.
    """
    if not 1 <= count <= MOST_SHARDS:
        raise ConfigError(f"shards is {count}; it must be from 1 to {MOST_SHARDS}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSettings:
    """Settings of a group: its driver, its shards and their placement.

    Attributes:
        num_shards: number of shards, from 1 to 64.
        shard: settings of each shard.
        spread: distribution of the shards over nodes.
        cpus_per_shard: CPUs that Ray reserves per shard; may be a fraction.
        gpus_per_shard: GPUs that Ray reserves per shard, 0 or 1; None means 1 if the cluster has
            GPUs and the device is not `cpu`.
        wait_seconds: how long to wait for nodes that an autoscaler may add.
        lease_seconds: time without a read after which a client's session is cancelled.
        kept_sessions: number of ended sessions that can still be read.
        kept_bytes: bytes of the driver's memory for sessions; beyond them, fewer ended ones are
            kept.
        orphan_seconds: time without a service's lease after which the group shuts down; None
            disables this.
        log_texts: whether the log contains the beginnings of problems.
        journal: folder, or URL that fsspec knows, in which the sessions of named groups are kept;
            None keeps them in memory alone.

    Raises:
        ConfigError: a number is out of range.
    """

    num_shards: int
    shard: ShardSettings
    spread: Spread = Spread.PACK
    cpus_per_shard: float = 1.0
    gpus_per_shard: int | None = None
    wait_seconds: float = 0.0
    lease_seconds: float = 60.0
    kept_sessions: int = 100
    kept_bytes: int = KEPT_BYTES
    orphan_seconds: float | None = None
    log_texts: bool = False
    journal: str | None = None

    def __post_init__(self) -> None:
        check_num_shards(self.num_shards)
        for name, value, good, allowed in (
            ("cpus_per_shard", self.cpus_per_shard, 0 <= self.cpus_per_shard < inf, "0 or more"),
            ("wait_seconds", self.wait_seconds, 0 <= self.wait_seconds < inf, "0 or more"),
            ("lease_seconds", self.lease_seconds, 0 < self.lease_seconds < inf, "above 0"),
            ("kept_sessions", self.kept_sessions, self.kept_sessions >= 0, "0 or more"),
            ("kept_bytes", self.kept_bytes, self.kept_bytes >= 0, "0 or more"),
            (
                "orphan_seconds",
                self.orphan_seconds,
                self.orphan_seconds is None or 0 < self.orphan_seconds < inf,
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
