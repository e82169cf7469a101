"""Cost of a decode step: workers over one shared cache, compared with plain transformers.

    make bench            or    python benchmarks/step.py --help

All variants run in turns in one process, round by round, so a slow moment of the machine affects
them alike; medians and their ratios are printed. Counts (KV bytes read, kernel calls) do not depend
on the machine.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from hogwild_dist.attention.piece_attention import PieceBackend
from hogwild_dist.attention.piece_kernels import AttentionKernel, attend_cpu
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import LoadedModel, load_model, prepare_model
from hogwild_dist.model.model_runner import ModelRunner

OWN_TOKENS = 32
"""Length of each worker's own block; the rest of the context is one shared block."""

SEPARATOR_TOKENS = 8
ALLOCATOR = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


@dataclass
class Counter:
    """Counts what an attention kernel reads."""

    kernel: AttentionKernel
    calls: int = 0
    bytes: int = 0

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        self.calls += 1
        self.bytes += (k.numel() + v.numel()) * k.element_size()
        return self.kernel(q, k, v, mask, scale)


def fill(cache: KVCache, block: Block, count: int) -> None:
    """Append random K and V to a block."""
    slots = torch.tensor(cache.extend(block, [5] * count))
    for layer, slab in enumerate(cache.keys):
        shape = (slab.shape[0], count, slab.shape[2])
        cache.write(
            layer, slots, torch.randn(shape, dtype=slab.dtype), torch.randn(shape, dtype=slab.dtype)
        )


def team_step(
    model: LoadedModel, workers: int, context: int, kernel: AttentionKernel
) -> tuple[Callable[[], None], int]:
    """Return a step of a team in the contiguous layout, and the KV bytes that it must read."""
    cache = model.new_cache(context + workers * 1_024)
    runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP), PieceBackend(kernel))
    common, separator = cache.new_block("common"), cache.new_block("separator")
    own = [cache.new_block(f"w{index}") for index in range(workers)]
    fill(cache, common, context - workers * OWN_TOKENS - SEPARATOR_TOKENS)
    fill(cache, separator, SEPARATOR_TOKENS)
    for block in own:
        fill(cache, block, OWN_TOKENS)
    rows = [Row((common, *(b for b in own if b is not o), separator, o), (7,)) for o in own]

    def step() -> None:
        runner.forward(rows)
        for block in own:
            cache.truncate(block, OWN_TOKENS)

    return step, (context + workers) * cache.token_bytes


def plain_step(hf_model: torch.nn.Module, sequences: int, context: int) -> Callable[[], None]:
    """Return a decode step of separate sequences with transformers' own cache."""
    config = hf_model.config
    shape = (sequences, config.num_key_value_heads, context, config.head_dim)
    cache = DynamicCache(config=config)
    for layer in range(config.num_hidden_layers):
        cache.update(torch.randn(shape), torch.randn(shape), layer)
    ids = torch.full((sequences, 1), 7)

    @torch.inference_mode()
    def step() -> None:
        hf_model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return step


def milliseconds(sides: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median of each variant over rounds in which every variant runs once."""
    for side in sides.values():
        side()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            taken[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(times) for name, times in taken.items()}


def append_microseconds(model: LoadedModel, length: int) -> float:
    """Return the time to append one token's K and V of all layers to a block of `length` tokens."""
    cache = model.new_cache(length + 2_048)
    block = cache.new_block("b")
    fill(cache, block, length)
    one = [torch.randn(slab.shape[0], 1, slab.shape[2]) for slab in cache.keys]
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        slots = torch.tensor(cache.extend(block, [7]))
        for layer, tensor in enumerate(one):
            cache.write(layer, slots, tensor, tensor)
        times.append(1e6 * (time.perf_counter() - begin))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--contexts", type=int, nargs="+", default=[512, 2_048, 8_192])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=150)
    path = resolve_model(DEMO_MODEL)
    plain = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, trust_remote_code=False
    ).eval()
    reordered = prepared_plain(path)
    model = load_model(path, name=DEMO_MODEL, device="cpu", dtype="float32")
    table = Table(title=f"{DEMO_MODEL}, float32, {options.threads} threads: milliseconds a step")
    for head in ("context", "workers", "team", "tokens/s", "team / 1 worker", "plain, 1 sequence",
                 "ratio", "plain, same weights", "ratio", "plain, that many", "ratio",
                 "KV read / floor", "kernel calls a layer"):  # fmt: skip
        table.add_column(head, justify="right")
    for context in options.contexts:
        for workers in options.workers:
            add_row(table, console, (model, plain, reordered), context, workers, options.rounds)
        table.add_section()
    console.print(table)
    allocator = {name: os.environ[name] for name in ALLOCATOR if name in os.environ}
    console.print(f"allocator settings: {allocator or 'none'}; torch {torch.__version__}")
    for length in (100, 10_000):
        console.print(
            f"append a token behind {length}: {append_microseconds(model, length):.0f} us"
        )


def prepared_plain(path: object) -> torch.nn.Module:
    """Return plain transformers with reordered weights, to separate the two gains."""
    hf_model = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, trust_remote_code=False
    )
    prepare_model(hf_model, name="plain")
    hf_model.set_attn_implementation("sdpa")
    return hf_model


def add_row(
    table: Table,
    console: Console,
    models: tuple[LoadedModel, torch.nn.Module, torch.nn.Module],
    context: int,
    workers: int,
    rounds: int,
) -> None:
    """Measure one row of the table and add it."""
    model, plain, reordered = models
    counter = Counter(attend_cpu)
    counted, floor = team_step(model, workers, context, counter)
    counted()
    team, _ = team_step(model, workers, context, attend_cpu)
    single, _ = team_step(model, 1, context, attend_cpu)
    ms = milliseconds(
        {
            "team": team,
            "single": single,
            "plain": plain_step(plain, 1, context),
            "reordered": plain_step(reordered, 1, context),
            "many": plain_step(plain, workers, context),
        },
        rounds,
    )
    num_layers = len(model.layers)
    console.print(f"context {context}, {workers} workers: {ms['team']:.1f} ms", style="dim")
    table.add_row(
        str(context),
        str(workers),
        f"{ms['team']:.1f}",
        f"{1e3 * workers / ms['team']:.0f}",
        f"{ms['team'] / ms['single']:.2f}",
        f"{ms['plain']:.1f}",
        f"{ms['team'] / ms['plain']:.2f}",
        f"{ms['reordered']:.1f}",
        f"{ms['team'] / ms['reordered']:.2f}",
        f"{ms['many']:.1f}",
        f"{ms['team'] / ms['many']:.2f}",
        f"{counter.bytes / floor:.3f}",
        f"{counter.calls / num_layers:.1f}",
    )


if __name__ == "__main__":
    main()
