"""The service under load: many sessions at once, compared with the same sessions in sequence.

    make bench-serve        or    python -m benchmarks.serve [--at-once 1 4 16 64] [--rounds 3]
    python -m benchmarks.serve --soak 5000         # memory and files on a tiny model
    python -m benchmarks.serve --soak 5000 --faults-every 10 --minutes 10
    python -m benchmarks.serve --malformed 10000   # requests with mistakes
    python -m benchmarks.serve --vanishing 10      # time until a session ends after its client

Clients and service share this machine. All variants run in turns, round after round, so a slow
minute of the machine affects all of them alike; the tables have medians over the rounds. The floor
is an engine in one process, without Ray and HTTP, that runs the same sessions.
"""

import argparse
import os
import statistics
from collections import defaultdict
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.serving.faults import faults_every
from benchmarks.serving.floor import Alone, Floor
from benchmarks.serving.load import MODEL, Played, body, play
from benchmarks.serving.malformed import send_malformed
from benchmarks.serving.soak import Faults, soak
from benchmarks.serving.start import started, tiny_arguments, tiny_model
from benchmarks.serving.vanish import vanish

AT_LEAST = 16
"""Sessions of a side, also where fewer go on at a time."""

Rounds = dict[int, list[tuple[Played, Floor]]]
"""So many sessions at a time -> what the rounds gave."""


def main() -> None:
    options = parse()
    console = Console(width=150)
    if options.soak or options.malformed:
        with tiny_model() as model, started(service_for(options, model)) as url:
            if options.soak:
                soak(url, options.soak, options.minutes, console, faults_of(options))
            if options.malformed:
                send_malformed(url, options.malformed, options.seed, console)
        return
    arguments = {"model": MODEL, "threads": options.threads}
    if options.vanishing:
        with started(arguments) as url:
            vanish(url, options.vanishing, [0, 15], console)
        return
    rounds = measure(arguments, options.at_once, options.rounds)
    for table in (speeds(rounds), counts(rounds), processor(rounds)):
        console.print(table)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    console.print(f"shard and floor with {options.threads} threads; load of the machine: {load}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the shard, and of the floor")
    parser.add_argument("--soak", type=int, metavar="N", help="send N requests to a tiny model")
    parser.add_argument("--minutes", type=float, default=30.0, help="that a soak takes at most")
    parser.add_argument("--faults-every", type=float, metavar="SECONDS", help="of a soak")
    parser.add_argument("--fault-roles", nargs="+", default=["shard"], help="whose processes die")
    parser.add_argument("--malformed", type=int, metavar="N", help="send N requests, most wrong")
    parser.add_argument("--vanishing", type=int, metavar="N", help="N clients that close at once")
    parser.add_argument("--seed", type=int, default=0, help="of the malformed requests")
    return parser.parse_args()


def service_for(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """Return the configuration of a service on the tiny model; faults need peers and a journal."""
    arguments = tiny_arguments(model)
    if options.faults_every:
        arguments |= {"shards": 2, "journal": f"{model}-journal", "timeout_seconds": 5.0}
    return arguments


def faults_of(options: argparse.Namespace) -> Faults:
    """Return what happens while requests are sent."""
    if not options.faults_every:
        return nullcontext
    return partial(faults_every, options.faults_every, options.fault_roles, options.seed)


def measure(arguments: dict[str, Any], at_once: list[int], rounds: int) -> Rounds:
    """Run every variant once in every round."""
    found: Rounds = defaultdict(list)
    number = 0

    def bodies(count: int) -> list[dict[str, Any]]:
        nonlocal number
        number += count
        return [body(one) for one in range(number - count, number)]

    alone = Alone(arguments)
    with started(arguments) as url, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=rounds * len(at_once))
        first = bodies(1)  # what all sessions begin with is encoded now
        play(url, first, 1)
        alone.play(first, 1)
        for _ in range(rounds):
            for count in at_once:
                asked = bodies(max(AT_LEAST, count))
                found[count].append((play(url, asked, count), alone.play(asked, count)))
                progress.advance(task)
    return found


def speeds(rounds: Rounds) -> Table:
    """Print the figures that depend on the machine."""
    table = Table(title=f"{MODEL}: teams of two behind the service, medians of the rounds")
    for head in ("at once", "sessions", "tokens/s", "/ one by one", "floor, tokens/s", "/ floor",
                 "first text p50, s", "p99", "ms/token p50", "p99", "steps/s", "ms/step",
                 "floor, ms/step"):  # fmt: skip
        table.add_column(head, justify="right")
    for count, pairs in rounds.items():
        firsts = [heard.first for played, _ in pairs for heard in played.heard]
        per_token = [1_000 * one for played, _ in pairs for one in played.per_token]
        ratios = "-"
        if 1 in rounds:
            ones = zip(pairs, rounds[1], strict=True)
            ratios = spread([p.tokens_per_second / q.tokens_per_second for (p, _), (q, _) in ones])
        table.add_row(
            str(count),
            str(len(pairs[0][0].heard)),
            f"{statistics.median(played.tokens_per_second for played, _ in pairs):.1f}",
            ratios,
            f"{statistics.median(floor.tokens_per_second for _, floor in pairs):.1f}",
            spread([p.tokens_per_second / f.tokens_per_second for p, f in pairs]),
            f"{np.percentile(firsts, 50):.2f}",
            f"{np.percentile(firsts, 99):.2f}",
            f"{np.percentile(per_token, 50):.0f}",
            f"{np.percentile(per_token, 99):.0f}",
            f"{statistics.median(p.steps / p.seconds for p, _ in pairs):.1f}",
            f"{statistics.median(1_000 * p.step_seconds / p.steps for p, _ in pairs):.0f}",
            f"{statistics.median(1_000 * f.step_seconds / f.steps for _, f in pairs):.0f}",
        )
    return table


def spread(values: list[float]) -> str:
    """Return median, minimum and maximum as text."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def counts(rounds: Rounds) -> Table:
    """Print the figures that hardly depend on the machine."""
    table = Table(title="counts a session")
    for head in ("at once", "prompt tokens", "of these encoded", "tokens chosen",
                 "forwards, floor", "steps, floor", "steps, service",
                 "server-sent events"):  # fmt: skip
        table.add_column(head, justify="right")
    for count, pairs in rounds.items():
        sessions = len(pairs[0][0].heard)
        table.add_row(
            str(count),
            *(
                f"{statistics.fmean(values) / sessions:.1f}"
                for values in (
                    [floor.prompt for _, floor in pairs],
                    [floor.encoded for _, floor in pairs],
                    [sum(heard.tokens for heard in played.heard) for played, _ in pairs],
                    [floor.forwards for _, floor in pairs],
                    [floor.steps for _, floor in pairs],
                    [played.steps for played, _ in pairs],
                    [sum(heard.chunks for heard in played.heard) for played, _ in pairs],
                )
            ),
        )
    return table


def processor(rounds: Rounds) -> Table:
    """Print the CPU time of each process."""
    table = Table(title="milliseconds of CPU a chosen token, by process")
    roles = list(next(iter(rounds.values()))[0][0].cpu)
    for head in ("at once", *roles):
        table.add_column(head, justify="right")
    for count, pairs in rounds.items():
        tokens = sum(heard.tokens for played, _ in pairs for heard in played.heard)
        table.add_row(
            str(count),
            *(
                f"{1_000 * sum(played.cpu[role] for played, _ in pairs) / tokens:.2f}"
                for role in roles
            ),
        )
    return table


if __name__ == "__main__":
    main()
