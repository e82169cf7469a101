"""Benefit of sharing: log-probability and exact matches compared with `independent`, by task.

    .venv/bin/python benchmarks/sharing.py            # compare with benchmarks/sharing.json
    .venv/bin/python benchmarks/sharing.py --write    # and write it

Nothing is timed: the figures are the same on every machine up to rounding.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hogwild_dist import Engine, EngineConfig, Visibility, load
from hogwild_dist.evaluation.sharing import TASKS, score

FIGURES = Path(__file__).with_suffix(".json")
MODEL = "smollm2-135m"
CONFIGURATIONS = [
    ("independent", Visibility.SAME_STEP),
    *(
        (layout, visibility)
        for layout in ("contiguous", "interleaved", "combined")
        for visibility in Visibility
    ),
]


def measure(seeds: int) -> list[dict[str, Any]]:
    """Return a figure for each configuration, task and seed."""
    engines: dict[Visibility, Engine] = {}
    figures: list[dict[str, Any]] = []
    cases = [
        (*one, task, seed) for one in CONFIGURATIONS for task in TASKS for seed in range(seeds)
    ]
    for layout, visibility, task, seed in track(cases, "scoring", console=Console(stderr=True)):
        config = EngineConfig(visibility=visibility, cache_tokens=4_096)
        if visibility not in engines:
            engines[visibility] = load(MODEL, device="cpu", dtype="float32", config=config)
        result = score(engines[visibility], TASKS[task](seed), layout)
        figures.append(
            {
                "layout": layout,
                "visibility": visibility.value,
                "task": task,
                "seed": seed,
                "log_probability": round(result.log_probability, 4),
                "matched": round(result.matched, 4),
            }
        )
    return figures


def table(figures: list[dict[str, Any]]) -> Table:
    """Return means over the seeds: gain over `independent` (nats per token), matches, cases."""
    shown = Table("layout", "visibility", box=None)
    for task in TASKS:
        shown.add_column(f"{task}: gain", justify="right")
        shown.add_column("tokens", justify="right")
        shown.add_column("exact", justify="right")

    def of(layout: str, visibility: Visibility, task: str) -> list[dict[str, Any]]:
        wanted = (layout, visibility.value, task)
        return [f for f in figures if (f["layout"], f["visibility"], f["task"]) == wanted]

    for layout, visibility in CONFIGURATIONS:
        row = [layout, visibility.value if layout != "independent" else "any"]
        for task in TASKS:
            own, base = of(layout, visibility, task), of(*CONFIGURATIONS[0], task)
            gain = fmean(f["log_probability"] for f in own) - fmean(
                f["log_probability"] for f in base
            )
            matched = [f["matched"] for f in own]
            row += [f"{gain:+.2f}", f"{fmean(matched):.0%}", f"{matched.count(1)}/{len(own)}"]
        shown.add_row(*row)
    return shown


def main() -> None:
    """Measure, print, and write the figures or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    figures = measure(chosen.seeds)
    Console(width=160).print(table(figures))
    if chosen.write:
        lines = ",\n".join(json.dumps(figure) for figure in figures)
        FIGURES.write_text(f"[\n{lines}\n]\n")
        return
    known = {
        (f["layout"], f["visibility"], f["task"], f["seed"]): f
        for f in json.loads(FIGURES.read_text())
    }
    pairs = [(f, known.get((f["layout"], f["visibility"], f["task"], f["seed"]))) for f in figures]
    differences = [abs(f["log_probability"] - k["log_probability"]) for f, k in pairs if k]
    print(f"{len(differences)} figures; largest difference to the committed: {max(differences)}")


if __name__ == "__main__":
    main()
