"""Times on a GPU by its own events, on a CPU by the clock."""

import statistics
import time
from collections.abc import Callable

import torch


def device_milliseconds(
    step: Callable[[], object], device: torch.device, *, rounds: int, warmup: int = 3
) -> tuple[float, float]:
    """Return the median time of a step on the device, and by the clock, in milliseconds.

    On a CPU both are by the clock. On a GPU the time on the device runs from an event before the
    step to one after it, so it holds the gaps in which the device waits for the host.
    """
    for _ in range(warmup):
        step()
    wait(device)
    on_device, by_clock = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            step()
            last.record()
            last.synchronize()
            on_device.append(first.elapsed_time(last))
        else:
            step()
        by_clock.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(on_device or by_clock), statistics.median(by_clock)


def wait(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
