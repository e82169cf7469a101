"""The configuration of a service, read from one file or from the arguments of `serve run`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hogwild_dist.actors.settings import KEPT_BYTES, GroupSettings, ShardSettings
from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.session.spec import MAX_WORKERS
from hogwild_dist.settings import arguments_from_flat, flat_fields
from hogwild_dist.team.presets import TEAMS
from hogwild_dist.team.user_files import first_fault

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Host = Annotated[str, Field(pattern=r"^(\*|[\w.-]+|\[?[0-9A-Fa-f:.]+\]?)$")]

Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/\s*]+)$")]
"""Scheme, host and port of a web page, or * for any."""

KEY_NAME = r"^[\w.-]{1,64}$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(_Part):
    """Values used for fields that a request leaves out.

    Attributes:
        team: name of the team.
        max_tokens: token limit of each worker.
        answer_tokens: token limit of the answer that the team states at the end.
        temperature: sampling temperature of the workers and the answer.
        top_p: nucleus sampling threshold of the workers and the answer.
        repetition_penalty: repetition penalty of the workers and the answer.
    """

    team: str = "peers"
    max_tokens: Count = 256
    answer_tokens: Count = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0

    @model_validator(mode="after")
    def _can_sample(self) -> Self:
        SamplingConfig(
            temperature=self.temperature,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
        )
        return self


class Bounds(_Part):
    """Upper limits of what a request may ask for.

    Attributes:
        body_bytes: size of a request body, in bytes.
        problem_chars: characters of a problem, or of all messages of a chat together.
        prompt_tokens: tokens of a session's prompts.
        workers: workers in a team.
        max_tokens: tokens of each worker, and of an answer.
        session_tokens: tokens that all workers of a session and its answer may choose together;
            None is a quarter of `cache_tokens`.
        message_tokens: tokens of one message to a team, or of a new worker's brief; every team
            waits while they are encoded.
        choices: choices in one chat request (`n`).
        queue: waiting sessions; when the queue is full, new sessions are refused with status 429.
        session_seconds: time from its opening after which a session is ended.
    """

    body_bytes: Count = 1_000_000
    problem_chars: Count = 50_000
    prompt_tokens: Count = 16_384
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = MAX_WORKERS
    max_tokens: Count = 4_096
    session_tokens: Count | None = None
    message_tokens: Count = 512
    choices: Count = 4
    queue: Count = 256
    session_seconds: Seconds = 600.0


class Scale(_Part):
    """Number of groups of shards, which follows the load.

    Attributes:
        min_groups: smallest number of groups.
        max_groups: largest number of groups.
        sessions_per_group: target load; above it a group is started, below it one is ended.
        upscale_delay_seconds: how long the load must stay high before a group is started.
        downscale_delay_seconds: how long the load must stay low before a group is ended.
        drain_seconds: how long the sessions of an ending group may continue.
        overlap: whether the groups of a service that is deployed anew are ready before the groups
            before them end; the cluster then needs room for both.
        ingresses: HTTP processes; each counts quotas on its own.
    """

    min_groups: Count = 1
    max_groups: Count = 1
    sessions_per_group: Count = 16
    upscale_delay_seconds: Seconds = 30.0
    downscale_delay_seconds: Seconds = 300.0
    drain_seconds: Seconds = 60.0
    overlap: bool = True
    ingresses: Count = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_groups > self.max_groups:
            raise ValueError(f"min_groups is {self.min_groups}, above max_groups")
        return self


class Key(_Part):
    """A client's API key and its quotas.

    Attributes:
        name: name of the client in logs and metrics.
        sha256: hash of the key, as `hogwild keys new` prints it.
        requests_per_minute: request quota; None is unlimited.
        tokens_per_minute: quota of prompt and chosen tokens; None is unlimited.
    """

    name: Annotated[str, Field(pattern=KEY_NAME)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None


class ServiceConfig(_Part):
    """The settings of a service.

    Attributes:
        name: prefix of the names of its groups of shards.
        load_settings: settings that load each shard's engine; a file lists them beside the other
            fields.
        model_name: the model's name for clients; None is the last part of `model`.
        teams: names of built-in teams, and team files.
        shards: number of shards in each group.
        cpus_per_shard: CPUs that Ray reserves for each shard.
        start_seconds: how long a group may wait for an autoscaler to add nodes.
        health_seconds: how long a group may take to write a token.
        kept_sessions: number of ended sessions that each group keeps readable.
        kept_bytes: memory of each group's driver for sessions; beyond it, fewer ended ones are
            kept.
        timeout_seconds: time after which a shard that hangs is left behind.
        defaults: default values of requests.
        bounds: limits of requests.
        scale: number of groups, by load.
        hosts: host names that clients may use, without ports; "*" accepts any.
        cors_origins: web pages on other hosts whose scripts may use the service; "*" allows any.
        keys: the clients' keys; without any, everyone may use the service.
        log_texts: whether logs may contain the first words of problems.
        journal: folder, or URL that fsspec knows, that keeps the sessions of all groups; they then
            outlive the service. None keeps them in memory alone.
    """

    name: Annotated[str, Field(pattern=r"^\w[\w.-]{0,39}$")] = "hogwild-service"
    load_settings: LoadSettings = LoadSettings()
    model_name: str | None = None
    teams: tuple[str, ...] = TEAMS
    shards: Annotated[int, Field(ge=1, le=64)] = 1
    cpus_per_shard: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    start_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    health_seconds: Seconds = 30.0
    kept_sessions: Annotated[int, Field(ge=0)] = 1_000
    kept_bytes: Annotated[int, Field(ge=0)] = KEPT_BYTES
    timeout_seconds: Seconds = 60.0
    defaults: Defaults = Defaults()
    bounds: Bounds = Bounds()
    scale: Scale = Scale()
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)] = ("*",)
    cors_origins: tuple[Origin, ...] = ()
    keys: tuple[Key, ...] = ()
    log_texts: bool = False
    journal: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Gather the fields of `load_settings`, which are given beside the others."""
        if "load_settings" in given:
            raise ValueError("there is no key 'load_settings'; its fields stand beside the others")
        own = {one.name for one in flat_fields(LoadSettings)}
        rest = {name: value for name, value in given.items() if name not in own}
        return rest | {"load_settings": arguments_from_flat(LoadSettings, given)}

    @field_validator("keys")
    @classmethod
    def _names_differ(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        names = [key.name for key in keys]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two keys are called {twice[0]!r}")
        return keys

    @property
    def served_model(self) -> str:
        """What clients call the model."""
        return self.model_name or self.load_settings.model.rstrip("/").rpartition("/")[2]

    @property
    def session_tokens(self) -> int:
        """What all workers of a session and its answer may choose together."""
        return self.bounds.session_tokens or max(1, self.load_settings.engine.cache_tokens // 4)

    def group_name(self, slot: int) -> str:
        """Name of a group's driver."""
        return f"{self.name}-{slot}"

    @property
    def num_slots(self) -> int:
        """Names that groups may take: some end, others start, and some journals stay unused."""
        return 3 * self.scale.max_groups

    def group_settings(self) -> GroupSettings:
        """What each group is started with.

        Raises:
            ConfigError: a number is out of range.
        """
        return GroupSettings(
            num_shards=self.shards,
            shard=ShardSettings.loading(self.load_settings, timeout_seconds=self.timeout_seconds),
            cpus_per_shard=self.cpus_per_shard,
            wait_seconds=self.start_seconds,
            kept_sessions=self.kept_sessions,
            kept_bytes=self.kept_bytes,
            orphan_seconds=10 * self.health_seconds,
            log_texts=self.log_texts,
            journal=self.journal,
        )


def read_fields(path: Path) -> dict[str, Any]:
    """Return the fields in a service's file, TOML or YAML, unchecked.

    Raises:
        ConfigError: the file cannot be read, or holds no fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
        fields = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The service's file {str(path)!r} cannot be read: {reason}.") from error
    if not isinstance(fields or {}, dict):
        raise ConfigError(f"The service's file {str(path)!r} holds no fields; see docs/service.md.")
    return fields or {}


def service_config(fields: Mapping[str, Any]) -> ServiceConfig:
    """Return a service's configuration from plain fields.

    Raises:
        ConfigError: a field is invalid; the message names the first one.
    """
    try:
        return ServiceConfig.model_validate(fields)
    except ValidationError as error:
        place, what = first_fault(error, fields)
        where = (f"at {place!r}: {what}" if place else what).removesuffix(".")
        raise ConfigError(f"The service's settings cannot be used, {where}.") from error
