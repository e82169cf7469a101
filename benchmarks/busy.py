"""A decode step beside other busy processes, by how the threads of OpenMP wait.

Each measurement is a process of its own, since torch reads the policy once. Variants take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hogwild_dist.environment import SPIN_ROUNDS

ROOT = Path(__file__).parents[1]
LIBRARY_ROUNDS = 300_000
"""Rounds that GNU OpenMP spins by default."""

VARIANTS = {
    "as the library": {"GOMP_SPINCOUNT": str(LIBRARY_ROUNDS)},
    "as the package": {"GOMP_SPINCOUNT": str(SPIN_ROUNDS)},
    "never spin": {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "passive"},
}

MEASURE = """
import json, sys, time
sys.path.insert(0, "benchmarks")
from step import team_step
from hogwild_dist.attention.piece_kernels import attend_cpu
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import load_model
model = load_model(resolve_model(DEMO_MODEL), name=DEMO_MODEL, device="cpu", dtype="float32")
step, _ = team_step(model, 4, 512, attend_cpu)
print("ready", flush=True)
sys.stdin.readline()
times = []
for _ in range(int(sys.argv[1])):
    begin = time.perf_counter()
    step()
    times.append(1e3 * (time.perf_counter() - begin))
print(json.dumps(times))
"""


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep some cores busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def milliseconds(variables: dict[str, str], busy: int, rounds: int) -> float:
    """Return the median time of a step of four workers at 512 tokens."""
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURE, str(rounds)],
        cwd=ROOT, env={**os.environ, **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    with busy_loops(busy):
        time.sleep(0.5)
        out, _ = process.communicate("go\n")
    return statistics.median(json.loads(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    table = Table(title="SmolLM2-135M, float32, 4 workers, 512 tokens: milliseconds a step")
    for head in ("busy processes", *VARIANTS):
        table.add_column(head, justify="right")
    for busy in options.busy:
        found: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for _ in range(options.turns):
            for name, variables in VARIANTS.items():
                found[name].append(milliseconds(variables, busy, options.rounds))
        table.add_row(str(busy), *(f"{statistics.median(times):.0f}" for times in found.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
