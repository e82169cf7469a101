"""Operations that a decode step asks of a device, counted on a CPU: each is a launch on a GPU.

    TRITON_INTERPRET=1 python benchmarks/launches.py

A model of Qwen3's form runs a step with 2 layers and with 3; the difference is what a layer costs.
Operations that only look at memory in another way, or reserve it, are not counted.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.interpreter import InterpretedFunction

from benchmarks.gpu.plain import plain_step
from benchmarks.gpu.shapes import Shape, random_model
from benchmarks.gpu.teams import team_rows, team_step
from hogwild_dist.attention.batch import build_batch
from hogwild_dist.attention.tables.device_tables import build
from hogwild_dist.attention.tables.kernel import LayerKind
from hogwild_dist.attention.tables.step_tables import TASK_FIELDS
from hogwild_dist.attention.triton.launches import TritonKernel
from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.kvcache.rows import allocate_slots
from hogwild_dist.model.fused.install import fuse
from hogwild_dist.model.fused.operations import write_both
from hogwild_dist.model.loaded_model import prepare_model

CPU = torch.device("cpu")
FREE = ("empty", "view", "reshape", "detach", "alias", "_unsafe_view", "promote_types")
"""Operations that launch nothing, besides those that PyTorch itself calls views."""


class Launches(TorchDispatchMode):
    """Counts operations, and each of Triton's interpreted kernels as one."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self._in_kernel = False
        self._run = InterpretedFunction.run

    def __enter__(self) -> "Launches":
        def run(function: InterpretedFunction, *args: Any, **kwargs: Any) -> Any:
            self.count[function.__name__] += 1
            self._in_kernel = True
            try:
                return self._run(function, *args, **kwargs)
            finally:
                self._in_kernel = False

        InterpretedFunction.run = run
        entered: Launches = super().__enter__()
        return entered

    def __exit__(self, *args: Any) -> None:
        InterpretedFunction.run = self._run
        super().__exit__(*args)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not self._in_kernel and not func.is_view and not name.startswith(FREE):
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def counted(layers: int, workers: int, variant: str) -> Counter[str]:
    """Return the operations of a step."""
    shape = Shape(hidden=64, inner=96, layers=layers, heads=8, kv_heads=2, head_dim=16, vocab=200)
    hf_model = random_model(shape, torch.float16, CPU)  # no layout of CPUs
    if variant == "plain":
        hf_model.set_attn_implementation("sdpa")
        step = plain_step(hf_model, sequences=workers, context=128, device=CPU)
    else:
        if variant == "fused":
            fuse(hf_model, RotaryTables.from_model(hf_model))
        model = prepare_model(hf_model, name="qwen3")
        if variant == "fused":
            model = replace(model, slot_writer=write_both)
        attention = "matmul" if variant == "matmul" else "triton"
        step = team_step(model, workers=workers, context=128 + 32 * workers, attention=attention)
    step()
    with Launches() as launches:
        step()
    return launches.count


def keys_over_floor(workers: int, groups: int) -> float:
    """Return the keys that tasks read in a step at 8,192 tokens, over the keys that are visible."""
    cache = KVCache(
        layers=(LayerShape(num_kv_heads=1, head_dim=128),),
        num_tokens=16_384,
        rotary=RotaryTables(inv_freq=(torch.ones(64, dtype=torch.float64),), table_of_layer=(0,)),
        dtype=torch.float32,
        device=CPU,
    )
    rows = team_rows(cache, workers, 8_192)
    batch = build_batch(rows, allocate_slots(cache, rows), Visibility.SAME_STEP)
    kind = LayerKind(window=None, num_kv_heads=8, num_groups=groups, head_dim=128)
    tables = build(batch, kind, TritonKernel(132))
    read = sum(tables.local_tasks[2::TASK_FIELDS])
    return read / sum(block.length for block in cache.blocks)


def main() -> None:
    """Print the counts."""
    print("| workers | variant | a layer | the rest of a step |")
    print("|---|---|---|---|")
    for workers in (1, 4):
        for variant in ("plain", "matmul", "triton", "fused"):
            few, more = (counted(layers, workers, variant).total() for layers in (2, 3))
            print(f"| {workers} | {variant} | {more - few} | {few - 2 * (more - few)} |")
    layer = counted(3, 4, "fused") - counted(2, 4, "fused")
    print(f"one layer, fused: {dict(layer)}")
    print("| workers | query heads for a key-value head | keys read over visible keys |")
    print("|---|---|---|")
    for groups in (4, 8):
        for workers in (1, 4, 8, 16):
            print(f"| {workers} | {groups} | {keys_over_floor(workers, groups):.2f} |")


if __name__ == "__main__":
    main()
