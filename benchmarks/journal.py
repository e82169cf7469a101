"""What a durable journal costs a step, without any fault.

Two groups of one shard, with and without a journal, write the same text in turns.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hogwild_dist import LAYOUTS, Limits, Run, Team
from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.config import EngineConfig
from hogwild_dist.model.hub import DEMO_MODEL

PROBLEM = "List the planets, and say something about each."


def milliseconds(group: ShardGroup, num_tokens: int) -> float:
    """Let a team of two write, and return the time that a step took."""
    limits = Limits(max_tokens=num_tokens)
    team = Team(names=("Ann", "Ben"), layout=LAYOUTS["combined"], limits=limits)
    run = Run(group, PROBLEM, team)
    times = [time.perf_counter() for _ in run]
    return 1_000 * (times[-1] - times[0]) / num_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="of each worker, in a round")
    options = parser.parse_args()
    found: dict[str, list[float]] = {"without": [], "with": []}
    with ExitStack() as stack:
        stack.enter_context(connected(None))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        groups = {}
        for name, journal in (("without", None), ("with", folder)):
            shard = ShardSettings(
                model=options.model,
                device="cpu",
                threads=1,
                engine=EngineConfig(cache_tokens=8_192),
            )
            settings = GroupSettings(num_shards=1, cpus_per_shard=0.5, shard=shard, journal=journal)
            groups[name] = stack.enter_context(ShardGroup.start(settings, name=f"journal-{name}"))
            stack.callback(groups[name].stop)
            milliseconds(groups[name], 8)
        for number in track(range(options.rounds), console=Console(stderr=True)):
            for name in sorted(groups, reverse=number % 2 == 0):
                found[name].append(milliseconds(groups[name], options.tokens))
    ratios = [one / other for one, other in zip(found["with"], found["without"], strict=True)]
    table = Table(title=f"{options.model}: milliseconds a step, {options.rounds} rounds")
    for head in ("without a journal", "with one", "ratio: median", "least", "most"):
        table.add_column(head, justify="right")
    table.add_row(
        *(f"{statistics.median(found[name]):.1f}" for name in ("without", "with")),
        *(f"{one:.3f}" for one in (statistics.median(ratios), min(ratios), max(ratios))),
    )
    Console().print(table)


if __name__ == "__main__":
    main()
