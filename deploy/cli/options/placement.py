"""Options that say what computes a team: the model, and the shards."""

from dataclasses import dataclass
from typing import Annotated

import typer

from hogwild_dist.actors.settings import Spread
from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.deploy.cli.execution import ExecutionTarget
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.model.hub import DEMO_MODEL


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """The model, and what is fixed for its engine's life."""

    model: options.Model = DEMO_MODEL
    visibility: options.Visible = Visibility.SAME_STEP
    device: options.Device = None
    dtype: options.Dtype = None
    threads: options.Threads = None
    cache_tokens: options.CacheTokens = 65_536

    def config(self) -> EngineConfig:
        """Of the engine.

        Raises:
            ConfigError: a number is out of range.
        """
        return EngineConfig(visibility=self.visibility, cache_tokens=self.cache_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """How many shards there are, and where they lie."""

    shards: options.Shards = None
    spread: Annotated[Spread, typer.Option(help="How the shards lie on the nodes.")] = Spread.PACK
    cpus_per_shard: Annotated[
        float, typer.Option(help="CPUs that Ray sets aside for each shard.")
    ] = 1.0
    wait_for_nodes: Annotated[
        float, typer.Option(help="Seconds to wait for nodes that an autoscaler may bring.")
    ] = 0.0


def execution_target(
    engine: EngineOptions,
    shards: ShardOptions,
    *,
    address: str | None,
    name: str | None = None,
    attach: str | None = None,
    timeline: bool = False,
) -> ExecutionTarget:
    """Run sessions on a target.

    Raises:
        ConfigError: a number is out of range, or options do not go together.
    """
    return ExecutionTarget(
        model=engine.model,
        device=engine.device,
        dtype=engine.dtype,
        threads=engine.threads,
        config=engine.config(),
        shards=shards.shards,
        address=address,
        name=name,
        attach=attach,
        spread=shards.spread,
        cpus_per_shard=shards.cpus_per_shard,
        wait_for_nodes=shards.wait_for_nodes,
        timeline=timeline,
    )
