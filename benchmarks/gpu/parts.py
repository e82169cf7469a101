"""The parts of the script, in the order in which they run; each returns a list of rows."""

import platform
import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.gpu.equality import graphs
from benchmarks.gpu.exchange import exchange
from benchmarks.gpu.settings import Rows, Settings
from benchmarks.gpu.shapes import SHAPES, Shape, random_model
from benchmarks.gpu.steps import copy_bandwidth, prefill, steps, teams
from benchmarks.gpu.teams import team_step
from benchmarks.gpu.timing import device_milliseconds, wait
from hogwild_dist.attention.backend import ScoreRule
from hogwild_dist.attention.batch import build_batch
from hogwild_dist.attention.registry import find_backend, usable_names
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.rows import Row, allocate_slots
from hogwild_dist.model.loaded_model import prepare_model
from hogwild_dist.model.model_runner import ModelRunner


def environment(settings: Settings) -> Rows:
    """Device, versions, and the bandwidth of a copy, which the floors are computed with."""
    gpu = settings.device.type == "cuda"
    yield {
        "device": torch.cuda.get_device_name(settings.device) if gpu else platform.processor(),
        "multiprocessors": (
            torch.cuda.get_device_properties(settings.device).multi_processor_count if gpu else 0
        ),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "copy_GB_per_s": round(copy_bandwidth(settings) / 1e9, 1),
    }


def kernels(settings: Settings) -> Rows:
    """Every attention kernel beside `matmul` in float32, on random blocks."""
    generator = random.Random(0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16)[: 3 - settings.interpreted]:
        for head_dim, groups in ((64, 1), (128, 4), (128, 8), (256, 4)):
            shape = Shape(
                hidden=64, inner=64, layers=1, heads=2 * groups, kv_heads=2, head_dim=head_dim,
                vocab=100,
            )  # fmt: skip
            model = prepare_model(random_model(shape, dtype, settings.device), name="random")
            for window in (None, 40):
                yield from _kernel_rows(model, window, generator, settings)


def _kernel_rows(model: Any, window: int | None, generator: random.Random, s: Settings) -> Rows:
    """Compare the kernels on one team of random lengths."""
    cache = model.new_cache(8_192)
    blocks = [cache.new_block(str(index)) for index in range(4)]
    for block in blocks:
        length = generator.randint(1, 60 if s.tiny else 1_500)
        cache.extend(block, [1] * length)
        cache.commit(block, length)
    for slab in (*cache.keys, *cache.values):
        slab.normal_()
    common, *own = blocks
    rows = [
        Row((common, *(o for o in own if o is not b), b), (5,) * n)
        for b, n in zip(own, (1, 3, 2), strict=True)
    ]
    slots = allocate_slots(cache, rows)
    batch = build_batch(rows, slots, Visibility.SAME_STEP)
    config = model.hf_model.config
    shape = (config.num_attention_heads, batch.num_tokens, config.head_dim)
    q = torch.randn(shape, device=s.device).to(model.dtype)
    rule = ScoreRule(config.head_dim**-0.5, window)
    right = find_backend("matmul", model.attention_needs).begin(cache, batch).attend(0, q, rule)
    for name in usable_names(model.attention_needs):
        found = find_backend(name, model.attention_needs).begin(cache, batch).attend(0, q, rule)
        error = float((found.float() - right.float()).abs().max())
        limit = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}[model.dtype]
        yield {
            "kernel": name,
            "dtype": _name(model.dtype),
            "head_dim": config.head_dim,
            "groups": shape[0] // 2,
            "window": window or 0,
            "largest_error": error,
            "ok": error < limit,
        }


def forward(settings: Settings) -> Rows:
    """Logits of a text in blocks beside the plain forward pass of transformers, by kernel."""
    shape = (
        SHAPES["tiny"]
        if settings.tiny
        else Shape(hidden=512, inner=1_024, layers=4, heads=8, kv_heads=2, head_dim=64, vocab=1_000)
    )
    ids = torch.randint(0, shape.vocab, (96,), generator=torch.Generator().manual_seed(1)).tolist()
    for dtype in (torch.float32, torch.bfloat16)[: 2 - settings.interpreted]:
        plain_model = random_model(shape, dtype, settings.device)
        with torch.inference_mode():
            right = plain_model(torch.tensor([ids], device=settings.device)).logits[0].float()
        model = prepare_model(random_model(shape, dtype, settings.device), name="random")
        for name in usable_names(model.attention_needs):
            backend = find_backend(name, model.attention_needs)
            cache = model.new_cache(512)
            runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP), backend)
            blocks = [cache.new_block(str(index)) for index in range(3)]
            worst, at = 0.0, 0
            for index, (length, chunk) in enumerate(((40, 40), (30, 7), (26, 1))):
                stop = at + length
                while at < stop:
                    some = tuple(ids[at : min(at + chunk, stop)])
                    logits, _ = runner.forward([Row(tuple(blocks[: index + 1]), some)])
                    at += len(some)
                    worst = max(worst, float((logits[0].float() - right[at - 1]).abs().max()))
            spread = float(right.std())
            limit = 1e-3 if dtype == torch.float32 else 0.2
            yield {
                "kernel": name, "dtype": _name(dtype), "largest_error": worst, "spread": spread,
                "ok": worst < limit * spread,
            }  # fmt: skip


def golden(settings: Settings) -> Rows:
    """Recordings of the reference implementation, if the model's folder is named."""
    if settings.model is None:
        yield {"recording": "none: name the folder of smollm2-135m by --model"}
        return
    from benchmarks.gpu.recordings import replayed  # noqa: PLC0415  # needs pydantic

    yield from replayed(settings.model, settings)


def syncs(settings: Settings) -> Rows:
    """Places at which a decode step waits for the device: one, where it reads the chosen ids."""
    model = prepare_model(random_model(SHAPES["tiny"], settings.dtype, settings.device), name="r")
    for graphs_on in (True, False):
        step = team_step(model, workers=3, context=300, graphs=graphs_on)
        for _ in range(3):
            step()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            if settings.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                if settings.device.type == "cuda":
                    torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in found)
        yield {"graphs": graphs_on, "waits": len(found), "places": str(dict(places))}


def profile(settings: Settings) -> Rows:
    """Launches and time by kernel in one decode step of four workers; first by kind, with gaps."""
    name = "tiny" if settings.tiny else "Qwen3-8B"
    model = prepare_model(random_model(SHAPES[name], settings.dtype, settings.device), name=name)
    step = team_step(model, workers=4, context=512 if settings.tiny else 8_192)
    whole, _ = device_milliseconds(step, settings.device, rounds=5)
    on_gpu = settings.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        wait(settings.device)
    found = [
        (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event)
        for event in profiler.key_averages()
        if not on_gpu or event.self_device_time_total
    ]
    calls: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for microseconds, event in found:
        calls[_kind(event.key)] += event.count
        times[_kind(event.key)] += microseconds
    for kind, count in calls.items():
        yield {"kernel": f"all: {kind}", "calls": count, "us": round(times[kind], 1)}
    busy = times.total()
    yield {"kernel": "all: gaps", "calls": 0, "us": round(max(0.0, 1e3 * whole - busy), 1)}
    for microseconds, event in sorted(found, key=lambda pair: -pair[0])[:25]:
        yield {"kernel": event.key[:80], "calls": event.count, "us": round(microseconds, 1)}


def _kind(kernel: str) -> str:
    """Return the kind of a kernel by its name."""
    if "attend_tasks" in kernel or "merge_parts" in kernel:
        return "attention"
    products = ("gemm", "gemv", "nvjet", "cutlass", "linear", "matmul", "mm")
    return "products" if any(name in kernel.lower() for name in products) else "the rest"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


PARTS: dict[str, Callable[[Settings], Rows]] = {
    "environment": environment,
    "kernels": kernels,
    "forward": forward,
    "graphs": graphs,
    "golden": golden,
    "syncs": syncs,
    "steps": steps,
    "profile": profile,
    "teams": teams,
    "prefill": prefill,
    "exchange": exchange,
}
