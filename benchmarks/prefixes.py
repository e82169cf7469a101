"""Cost of a shared prompt prefix for each step, and what it saves.

    python benchmarks/prefixes.py [--sessions 1 4 16] [--rounds 5]

The same sessions run with their common prompt prefix as one shared block, and with a whole prompt
for each session. Both variants run in turns in one process; the table has medians over the rounds.
The numbers of encoded tokens and of pages do not depend on the machine.
"""

import argparse
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from hogwild_dist import Engine, EngineConfig, Limits, Team, load
from hogwild_dist.engine.commands import Inbox, Open
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.session.spec import SessionSpec

MODEL = "smollm2-135m"
TOKENS = 16


@dataclass(frozen=True, slots=True)
class Side:
    """Measurements of one variant: milliseconds per step, encoded tokens, peak number of pages."""

    step_ms: float
    encoded: int
    pages: int


def play(engine: Engine, specs: list[SessionSpec]) -> Side:
    """Run all sessions at once; only steps in which all of them take part are timed."""
    inbox, seconds, pages = Inbox(), [], 0
    encoded = engine.num_encoded

    def look(outcome: StepOutcome) -> None:
        nonlocal pages
        pages = max(pages, engine.cache.pages.num_pages - engine.cache.pages.num_free)
        if len(outcome.sessions) == len(specs):
            seconds.append(outcome.seconds)

    loop = ShardLoop(engine, inbox, lambda _: None, observe=look)
    for number, spec in enumerate(specs, start=1):
        inbox.put(number, Open(session=number, spec=spec, recorded=False))
    loop.run()
    engine.reservations.prefix_cache.forget_idle(10**9)
    return Side(1_000 * statistics.median(seconds[1:]), engine.num_encoded - encoded, pages)


def main() -> None:
    """Measure both variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    engine = load(MODEL, config=EngineConfig(cache_tokens=65_536))
    team = Team(names=("Alice", "Bob"), limits=Limits(max_tokens=TOKENS))
    found: dict[tuple[int, bool], list[Side]] = defaultdict(list)
    for _ in range(chosen.rounds + 1):  # the first warms up
        for count in chosen.sessions:
            problems = [f"Name {number} animals." for number in range(2, count + 2)]
            shared = [team.spec(problem, engine.tokenizer) for problem in problems]
            alone = [replace(spec, shared_prefixes={}) for spec in shared]
            found[count, True].append(play(engine, shared))
            found[count, False].append(play(engine, alone))
    table = Table("sessions", box=None)
    for name in ("ms a step", "alone", "ratio", "encoded", "alone", "pages", "alone"):
        table.add_column(name, justify="right")
    for count in chosen.sessions:
        one, other = found[count, True][1:], found[count, False][1:]
        ratio = statistics.median(a.step_ms / b.step_ms for a, b in zip(one, other, strict=True))
        speeds = [f"{statistics.median(s.step_ms for s in side):.1f}" for side in (one, other)]
        counts = (one[0].encoded, other[0].encoded, one[0].pages, other[0].pages)
        table.add_row(str(count), *speeds, f"{ratio:.2f}", *map(str, counts))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
