"""Cost of an exchange: milliseconds per step, exposed wait, collectives and bytes.

    python benchmarks/exchange.py [--ranks 1 2 3 4] [--workers N] [--steps 60] [--rounds 3]

Every rank is a process with one thread. All configurations are measured in turns, round after
round, so a slow minute of the machine affects all of them alike; the table has medians.
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.engine.commands import Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.exchange.process_group import Membership, form_group, serve_store
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits, Team, default_names
from hogwild_dist.timeline import Span, Timeline, exposed_waits

HOST = "127.0.0.1"
PROBLEM = "Compare trains and planes for a trip of 500 km. " * 10
WARM_UP = 5
"""Steps of a run that do not count."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The configuration of one row of the table."""

    ranks: int
    workers: int
    visibility: Visibility
    steps: int


@dataclass(frozen=True, slots=True)
class Played:
    """Measurements of one rank."""

    spans: list[Span]
    bytes_sent: int
    token_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one setup in one round."""

    milliseconds: float
    tokens_per_second: float
    exposed: float
    collectives: float
    bytes_over_floor: float


def main() -> None:
    options = parse()
    setups = [
        Setup(ranks, options.workers or ranks, visibility, options.steps)
        for ranks in options.ranks
        for visibility in Visibility
        if ranks > 1 or visibility is Visibility.SAME_STEP
    ]
    ranks = Ranks(max(options.ranks))
    rounds: dict[Setup, list[Measured]] = {setup: [] for setup in setups}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=options.rounds * len(setups))
        for _ in range(options.rounds):
            for setup in setups:
                rounds[setup].append(measure(ranks, setup))
                progress.advance(task)
    ranks.close()
    show(rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--workers", type=int, help="of the team; as many as ranks by default")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


class Ranks:
    """Processes that hold the demo model and run one setup after the other."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.store = serve_store(HOST)
        self.epoch = 0
        self.processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            self.processes.append((process, ours))

    def play(self, setup: Setup) -> list[Played]:
        self.epoch += 1
        pipes = [pipe for _, pipe in self.processes[: setup.ranks]]
        for rank, pipe in enumerate(pipes):
            place = Membership(
                epoch=self.epoch,
                rank=rank,
                world_size=setup.ranks,
                store_host=HOST,
                store_port=self.store.port,
            )
            pipe.send((place, setup))
        return [pipe.recv() for pipe in pipes]

    def close(self) -> None:
        for process, _ in self.processes:
            process.kill()


def serve(pipe: Connection) -> None:
    """Run the process of one rank."""
    torch.set_num_threads(1)
    path = resolve_model(DEMO_MODEL)
    model, tokenizer = load_model(path, name=DEMO_MODEL, device="cpu"), load_tokenizer(path)
    while True:
        place, setup = pipe.recv()
        cache = model.new_cache(8_192)
        timeline = Timeline(enabled=True)
        channels = form_group(place, model.device, HOST)
        exchange = TorchDistExchange(channels, cache, setup.visibility, place.epoch, timeline)
        config = EngineConfig(visibility=setup.visibility, cache_tokens=8_192)
        engine = Engine(model, tokenizer, config, exchange, cache=cache, timeline=timeline)
        inbox = Inbox()
        inbox.put(1, Open(session=1, spec=spec(setup, tokenizer), recorded=False))
        ShardLoop(engine, inbox, lambda _: None).run()
        sent = exchange.counts.bytes_sent
        pipe.send(Played(timeline.spans, sent, cache.token_bytes))


def spec(setup: Setup, tokenizer: object) -> SessionSpec:
    team = Team(
        names=default_names(setup.workers),
        layout=LAYOUTS["contiguous"],
        limits=Limits(max_tokens=setup.steps),
    )
    return team.spec(PROBLEM, tokenizer)


def measure(ranks: Ranks, setup: Setup) -> Measured:
    played = ranks.play(setup)
    steps = [[span for span in one.spans if span.name == "step"] for one in played]
    begin = steps[0][WARM_UP].begin
    spans = [[span for span in one.spans if span.begin >= begin] for one in played]
    seconds = max(one[-1].end for one in steps) - begin
    counted = len(steps[0]) - WARM_UP
    return Measured(
        milliseconds=1_000 * seconds / counted,
        tokens_per_second=setup.workers * counted / seconds,
        exposed=max(exposed_waits(spans)) / seconds,
        collectives=sum(span.name == "send" for span in spans[0]) / counted,
        bytes_over_floor=bytes_over_floor(ranks, setup),
    )


def bytes_over_floor(ranks: Ranks, setup: Setup) -> float:
    """Return the bytes sent for each token, divided by the bytes of its new K and V.

    The floor sends K and V once to each peer. Two runs of different lengths are compared, so their
    difference consists of plain decoding steps.
    """
    if setup.ranks == 1:
        return 0.0
    short, long = (
        ranks.play(Setup(setup.ranks, setup.workers, setup.visibility, steps)) for steps in (8, 16)
    )
    sent = sum(b.bytes_sent - a.bytes_sent for a, b in zip(short, long, strict=True))
    floor = 8 * setup.workers * (setup.ranks - 1) * long[0].token_bytes
    return sent / floor


def show(rounds: dict[Setup, list[Measured]]) -> None:
    table = Table(
        "ranks", "workers", "visibility", "ms/step", "tokens/s", "against 1 rank",
        "exposed wait", "collectives/step", "bytes/floor",
    )  # fmt: skip

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    base = next((m for setup, m in rounds.items() if setup.ranks == 1), None)
    for setup, measured in rounds.items():
        ratios = (
            [m.tokens_per_second / b.tokens_per_second for m, b in zip(measured, base, strict=True)]
            if base
            else []
        )
        table.add_row(
            str(setup.ranks),
            str(setup.workers),
            setup.visibility.value,
            f"{median([m.milliseconds for m in measured]):.1f}",
            f"{median([m.tokens_per_second for m in measured]):.1f}",
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "",
            f"{100 * median([m.exposed for m in measured]):.1f} %",
            f"{median([m.collectives for m in measured]):.1f}",
            f"{median([m.bytes_over_floor for m in measured]):.4f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
