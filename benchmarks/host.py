"""What Python costs a decode step, by component: a tiny model, whose own time is set apart.

    python benchmarks/host.py

On a GPU, planning ahead runs beside the device, and so do the numbers of sampling and its launches,
which a CPU cannot tell from sampling itself. What lies between two steps is the rest: the session's
rules, updates, scheduling and cache slots.
"""

import argparse
import statistics
import time
from collections import defaultdict

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from hogwild_dist.config import EngineConfig, SamplingConfig
from hogwild_dist.engine.commands import Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.model.graphs.capturer import Capturer
from hogwild_dist.model.graphs.static_sampler import StaticSampler
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.sampler import SamplingRow
from hogwild_dist.model.sampling import uniform
from hogwild_dist.team.team import Limits, Team
from hogwild_dist.timeline import Timeline

SAMPLING = SamplingConfig(temperature=0.6, top_p=0.95, top_k=20)
PARTS = ("plan", "plan ahead")


def tiny_model(vocab_size: int) -> LoadedModel:
    """Return a model of two small layers with random weights."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=8_192,
    )  # fmt: skip
    return prepare_model(LlamaForCausalLM(config), name="tiny")


def milliseconds(
    model: LoadedModel, tokenizer: PreTrainedTokenizerBase, workers: int, tokens: int
) -> dict[str, float]:
    """Return the median milliseconds of each part of a step, and of what lies between two."""
    timeline = Timeline(enabled=True)
    config = EngineConfig(cache_tokens=65_536, attention="tables")
    engine = Engine(model, tokenizer, config, timeline=timeline)
    names = tuple(f"Worker {index}" for index in range(workers))
    team = Team(names=names, sampling=SAMPLING, limits=Limits(max_tokens=tokens))
    inbox = Inbox()
    inbox.put(1, Open(session=1, spec=team.spec("Count!", tokenizer), recorded=False))
    ShardLoop(engine, inbox, lambda _: None).run()
    spans = defaultdict(list)
    for span in timeline.spans:
        spans[span.name].append(span)
    found = {name: statistics.median(1e3 * one.seconds for one in spans[name]) for name in PARTS}
    within = zip(spans["compute"], spans["sampling"], spans["compute"][1:], strict=False)
    between = [
        1e3 * (after.begin - before.begin - before.seconds - chosen.seconds)
        for before, chosen, after in within
    ]
    return {**found, "between": statistics.median(between)}


def sampling_numbers(vocab_size: int, workers: int, rounds: int = 1_000) -> float:
    """Return the median milliseconds in which the numbers of sampling are found and copied."""
    capturer = Capturer(torch.device("cpu"))
    sampler = StaticSampler(workers, torch.zeros(1, vocab_size), capturer.capture)
    taken = []
    for index in range(rounds):
        begin = time.perf_counter()
        numbers = (uniform(1, worker, index) for worker in range(workers))
        sampler.fill([SamplingRow(SAMPLING, list, number) for number in numbers])
        taken.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(taken)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=80)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEMO_MODEL))
    model = tiny_model(len(tokenizer))
    table = Table(title="milliseconds a step, medians; one thread")
    for head in ("workers", *PARTS, "between two steps", "numbers of sampling"):
        table.add_column(head, justify="right")
    for workers in options.workers:
        found = milliseconds(model, tokenizer, workers, options.tokens)
        values = (*found.values(), sampling_numbers(len(tokenizer), workers))
        table.add_row(str(workers), *(f"{value:.2f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
