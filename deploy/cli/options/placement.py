"""Options of the shards: how many there are and where they run."""

from dataclasses import dataclass
from typing import Annotated

import typer

from hogwild_dist.actors.settings import Spread
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.errors import check_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """Number of shards and their placement on the nodes."""

    shards: options.Shards = None
    spread: Annotated[
        Spread, typer.Option(help="Few nodes (pack) or many (spread) for the shards.")
    ] = Spread.PACK
    cpus_per_shard: Annotated[
        float, typer.Option(help="CPUs that Ray reserves for each shard.")
    ] = 1.0
    wait_for_nodes: Annotated[
        float, typer.Option(help="Seconds to wait for an autoscaler's nodes.")
    ] = 0.0

    def __post_init__(self) -> None:
        check_positive("shards", self.shards)
