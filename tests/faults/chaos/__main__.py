"""Lets many faults happen to groups of a tiny model, and shows what that cost.

Shards and drivers are processes of this machine, without Ray. Every trial has its own seed, from
which everything is drawn; its sessions are compared with those of one undisturbed process.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from tests.faults.chaos.play import Seen, play
from tests.faults.chaos.report import lines, summary, table
from tests.faults.chaos.schedule import trial


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=1_000, help="faults in all")
    parser.add_argument("--a-trial", type=int, default=10, help="faults drawn for a trial")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first trial")
    parser.add_argument("--logs", type=Path, default=Path("chaos-logs"), help="folder of logs")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 140)
    outcomes: list[Seen] = []
    began = time.monotonic()
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as shown:
        task = shown.add_task("faults", total=options.faults)
        done = 0
        while done < options.faults:
            seen = play(trial(options.seed + len(outcomes), options.a_trial), options.logs)
            outcomes.append(seen)
            with open(options.logs / "faults.jsonl", "a") as file:
                file.writelines(f"{line}\n" for line in lines(seen))
            if seen.problem or any(seen.errors):
                console.print(f"seed {seen.trial.seed}: {seen.problem or seen.errors}")
            done += len(seen.struck)
            shown.update(task, completed=min(done, options.faults))
    console.print(table(outcomes))
    for line in summary(outcomes):
        console.print(line)
    console.print(f"{time.monotonic() - began:.0f} s; logs of the drivers: {options.logs}")
    sys.exit(any(one.problem or any(one.errors) for one in outcomes))


if __name__ == "__main__":
    main()
