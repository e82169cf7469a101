"""Time of decode steps: teams beside plain transformers with a CUDA graph, and the floor."""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.plain import plain_step
from benchmarks.gpu.settings import Rows, Settings
from benchmarks.gpu.shapes import SHAPES, random_model, weight_bytes
from benchmarks.gpu.teams import prefill_chunk, team_kv_bytes, team_step
from benchmarks.gpu.timing import device_milliseconds
from hogwild_dist.attention.layer import ATTENTION_NAME
from hogwild_dist.attention.registry import usable_names
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.timeline import Timeline

CONTEXTS = (1_024, 4_096, 8_192, 16_384)
WORKERS = (1, 2, 4, 8, 16)


def steps(settings: Settings) -> Rows:
    """A team of each size beside as many separate sequences.

    ``plain_1`` is transformers as it is, with one sequence. ``same_many`` are as many sequences as
    workers, on a model with this package's merged products and fused small operations, so that the
    ratio of a team to it shows what the shared cache costs or saves.
    """
    bandwidth = copy_bandwidth(settings)
    for name, shape in settings.shapes.items():
        contexts = (256,) if settings.tiny else CONTEXTS
        hf_model = random_model(shape, settings.dtype, settings.device)
        read = weight_bytes(hf_model)
        alone = {context: _plain(hf_model, 1, context, settings) for context in contexts}
        model = prepare_model(hf_model, name=name)
        for context in contexts:
            for workers in WORKERS[:2] if settings.tiny else WORKERS:
                floor = read + team_kv_bytes(model, workers=workers, context=context)
                yield {
                    "shape": name,
                    "context": context,
                    "workers": workers,
                    **_team(model, workers, context, settings),
                    "plain_1_ms": alone[context],
                    "same_many_ms": _plain(hf_model, workers, context, settings),
                    "floor_ms": 1e3 * floor / bandwidth,
                }
        del model, hf_model
        release(settings)


def teams(settings: Settings) -> Rows:
    """Sixteen teams of two at once."""
    name = "tiny" if settings.tiny else "Qwen3-8B"
    model = prepare_model(random_model(SHAPES[name], settings.dtype, settings.device), name=name)
    for count in (1, 4, 16):
        context = 256 if settings.tiny else 2_048
        make = partial(team_step, model, workers=2, context=context, teams=count)
        timeline = Timeline(enabled=True)
        on_device, by_clock = _milliseconds(partial(make, timeline=timeline), settings)
        yield {
            "shape": name, "teams": count, "workers": 2, "context": context,
            "device_ms": on_device, "wall_ms": by_clock, "replayed": _replayed(timeline),
        }  # fmt: skip


def prefill(settings: Settings) -> Rows:
    """A chunk of a prompt after a context, by attention kernel."""
    name = "tiny" if settings.tiny else "Qwen3-8B"
    model = prepare_model(random_model(SHAPES[name], settings.dtype, settings.device), name=name)
    chunk = 64 if settings.tiny else 512
    for context in (256,) if settings.tiny else (0, 4_096):
        for kernel in usable_names(model.attention_needs):
            if kernel == "tables":
                continue  # reads its tables on the host, task by task
            make = partial(prefill_chunk, model, chunk=chunk, context=context, attention=kernel)
            on_device, by_clock = _milliseconds(make, settings)
            yield {
                "shape": name, "tokens": chunk, "context": context, "kernel": kernel,
                "device_ms": on_device, "wall_ms": by_clock,
            }  # fmt: skip


def copy_bandwidth(settings: Settings) -> float:
    """Return the bytes that a copy reads and writes in a second."""
    size = 2**24 if settings.tiny else 2**31
    source = torch.zeros(size, dtype=torch.uint8, device=settings.device)
    target = torch.empty_like(source)
    milliseconds, _ = device_milliseconds(lambda: target.copy_(source), settings.device, rounds=10)
    return 2 * size / (milliseconds / 1e3)


def release(settings: Settings) -> None:
    """Give unused memory of the device back, also what Python has not noticed to be unused."""
    gc.collect()
    if settings.device.type == "cuda":
        torch.cuda.empty_cache()


def _team(
    model: LoadedModel, workers: int, context: int, settings: Settings
) -> dict[str, float | None]:
    """Return the times of a team's step, with graphs and without."""
    model.hf_model.set_attn_implementation(ATTENTION_NAME)
    make = partial(team_step, model, workers=workers, context=context)
    timeline = Timeline(enabled=True)
    on_device, by_clock = _milliseconds(partial(make, timeline=timeline), settings)
    _, eager = _milliseconds(partial(make, graphs=False), settings)
    return {
        "team_device_ms": on_device,
        "team_wall_ms": by_clock,
        "replayed": _replayed(timeline),
        "no_graph_wall_ms": eager,
    }


def _replayed(timeline: Timeline) -> float:
    """Return the share of steps that ran from fixed buffers."""
    names = [span.name for span in timeline.spans]
    return names.count("replay") / max(1, names.count("plan"))


def _plain(hf_model: Any, sequences: int, context: int, settings: Settings) -> float | None:
    """Return the time on the device of a step of separate sequences."""
    hf_model.set_attn_implementation("sdpa")
    device = settings.device
    make = partial(plain_step, hf_model, sequences=sequences, context=context, device=device)
    return _milliseconds(make, settings)[0]


def _milliseconds(
    make: Callable[[], Callable[[], object]], settings: Settings
) -> tuple[float, float] | tuple[None, None]:
    """Return the times of a step, or None twice if memory does not suffice for it."""
    try:
        return device_milliseconds(make(), settings.device, rounds=5 if settings.tiny else 20)
    except torch.OutOfMemoryError:
        return None, None
    finally:
        release(settings)
