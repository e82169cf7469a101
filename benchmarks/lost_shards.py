"""How long a group is silent when shards are lost, join and leave.

Each round starts a group of shards on Ray, lets a team write, and kills one shard after the other;
the shard that publishes is killed in every second round. A pause is the time from the signal to the
next step that a reader sees. Then a group of one shard grows and shrinks; there, a pause is the
longest time between two steps around the moment of the change.
"""

import argparse
import os
import signal
import statistics
import threading
import time
from itertools import pairwise

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

AROUND_SECONDS = 3.0
"""Time before and after a change in which its pause is looked for."""


def pauses(model: str, num_shards: int, *, first: bool) -> tuple[list[float], list[float]]:
    """Return the pause after each killed shard, and the times between the other tokens."""
    names = tuple(f"W{number}" for number in range(num_shards))
    limits = Limits(max_tokens=STEADY_STEPS * (num_shards + 1))
    team = Team(names=names, layout=LAYOUTS["combined"], limits=limits)
    found, steady = [], []
    with ShardGroup.start(_settings(model, num_shards)) as group:
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


def _settings(model: str, num_shards: int) -> GroupSettings:
    shard = ShardSettings(
        model=model, device="cpu", threads=1, engine=EngineConfig(cache_tokens=8_192)
    )
    return GroupSettings(num_shards=num_shards, cpus_per_shard=0.1, shard=shard)


def changes(model: str, counts: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Return the pause of each change of the number of shards, and the time that it took."""
    team = Team(
        names=("A", "B"), layout=LAYOUTS["combined"], limits=Limits(max_tokens=STEADY_STEPS * 100)
    )
    steps, done, took = [time.perf_counter()], [], []

    with ShardGroup.start(_settings(model, 1)) as group:
        run = Run(group, "List the planets, and say something about each.", team)

        def scale() -> None:
            for count in counts:
                began = time.perf_counter()
                group.scale(count)
                done.append(time.perf_counter())
                took.append(done[-1] - began)
            for one in group.sessions():
                group.cancel(one.id)

        scaling = threading.Thread(target=scale)
        scaling.start()
        for event in run:
            if isinstance(event, Text) and event.chosen:
                steps.append(time.perf_counter())
        scaling.join()
    gaps = [(now, now - last) for last, now in pairwise(steps)]
    around = [[gap for now, gap in gaps if abs(now - at) < AROUND_SECONDS] for at in done]
    return [max(near) for near in around if near], took


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
        paused, took = changes(options.model, (2, 3, 2, 1))
    table = Table("", "count", "median", "largest", title=f"{options.shards} shards")
    for name, seconds in (
        ("pause after a lost shard", found),
        ("between steps", steady),
        ("pause while shards join or leave", paused),
        ("the whole change, with its start", took),
    ):
        low, high = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
        table.add_row(name, str(len(seconds)), f"{low:.0f} ms", f"{high:.0f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
