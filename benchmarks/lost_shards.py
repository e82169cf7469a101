"""How long a group is silent after one of its shards is killed, and what the next steps take.

Each round starts a group of shards on Ray, lets a team write, and kills one shard after the other
until one is left; the shard that publishes is killed in every second round. A pause is the time
from the signal to the next step that a reader sees.
"""

import argparse
import os
import signal
import statistics
import time

from rich.console import Console
from rich.table import Table

from hogwild_dist import LAYOUTS, Limits, Run, Team
from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.config import EngineConfig
from hogwild_dist.model.hub import DEMO_MODEL
from hogwild_dist.session.events import Text

STEADY_STEPS = 20
"""Steps between two faults."""


def pauses(model: str, num_shards: int, *, first: bool) -> tuple[list[float], list[float]]:
    """Return the pause after each killed shard, and the times between the other tokens."""
    settings = GroupSettings(
        num_shards=num_shards,
        cpus_per_shard=0.1,
        shard=ShardSettings(
            model=model, device="cpu", threads=1, engine=EngineConfig(cache_tokens=8_192)
        ),
    )
    names = tuple(f"W{number}" for number in range(num_shards))
    limits = Limits(max_tokens=STEADY_STEPS * (num_shards + 1))
    team = Team(names=names, layout=LAYOUTS["combined"], limits=limits)
    found, steady = [], []
    with ShardGroup.start(settings) as group:
        run = Run(group, "List the planets, and say something about each.", team)
        step, last, killed_at = 0, time.perf_counter(), 0.0
        for event in run:
            if not isinstance(event, Text) or not event.chosen or event.step == step:
                continue
            now = time.perf_counter()
            (found if killed_at else steady).append(now - (killed_at or last))
            step, last, killed_at = event.step, now, 0.0
            left = group.group.shards if step % STEADY_STEPS == 0 else ()
            if len(left) > 1:
                os.kill(left[0 if first else -1].pid, signal.SIGKILL)
                killed_at = time.perf_counter()
    return found, steady


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    found, steady = [], []
    with connected(None):
        for number in range(options.rounds):
            one, rest = pauses(options.model, options.shards, first=number % 2 == 0)
            found += one
            steady += rest
    table = Table("", "count", "median", "largest", title=f"{options.shards} shards, then fewer")
    for name, seconds in (("pause after a lost shard", found), ("between steps", steady)):
        low, high = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
        table.add_row(name, str(len(seconds)), f"{low:.0f} ms", f"{high:.0f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
