"""Cost of the linear layers of a decode step: siblings apart or merged, weights plain or reordered.

    python benchmarks/products.py --help

All variants hold the same weights and run in turns in one process. Printed are the median and the
least of each, in milliseconds for all layers of the model and its output layer.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import AutoModelForCausalLM

from hogwild_dist.model.cpu_linear import ReorderedLinear
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.merged_linear import merge_linears


def linears(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a model, in the order of their modules."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@torch.inference_mode()
def milliseconds(layers: Sequence[nn.Module], rows: int) -> float:
    """Return the time of all layers for some rows each."""
    inputs = [torch.randn(1, rows, layer.in_features) for layer in layers]
    begin = time.perf_counter()
    for layer, x in zip(layers, inputs, strict=True):
        layer(x)
    return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    apart = AutoModelForCausalLM.from_pretrained(
        resolve_model(DEMO_MODEL), dtype=torch.float32, trust_remote_code=False
    )
    merged = copy.deepcopy(apart)
    merge_linears(merged)
    plain = {"apart": linears(apart), "merged": linears(merged)}
    reordered = {
        f"{name}, reordered": [ReorderedLinear(layer) for layer in layers]
        for name, layers in plain.items()
    }
    variants = {**plain, **reordered}
    table = Table(title=f"{DEMO_MODEL}, float32, {torch.get_num_threads()} threads: ms (least)")
    for head in ("rows", *variants):
        table.add_column(head, justify="right")
    for rows in options.rows:
        rounds = [
            [milliseconds(layers, rows) for layers in variants.values()]
            for _ in range(options.rounds)
        ]
        cells = [
            f"{statistics.median(times):.1f} ({min(times):.1f})"
            for times in zip(*rounds, strict=True)
        ]
        table.add_row(str(rows), *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
