"""Recordings of the reference implementation, replayed; needs pydantic, unlike the other parts."""

from pathlib import Path

from benchmarks.gpu.settings import Rows, Settings
from hogwild_dist.attention.registry import usable_names
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import RowComparison, recorded_settings, replay_fed

GOLDEN = Path("tests/data/golden")
"""Recordings of the reference implementation, seen from the root of the repository."""


def replayed(folder: Path, settings: Settings) -> Rows:
    """Replay each recording in float32 with every kernel.

    Args:
        folder: folder of smollm2-135m.
        settings: what is measured.
    """
    device = str(settings.device)
    model = load_model(folder, name="smollm2-135m", device=device, dtype="float32")
    tokenizer = load_tokenizer(folder)
    usable = [name for name in usable_names(model.attention_needs) if name != "tables"]  # slow
    names = usable[:1] if settings.tiny else usable
    for path in sorted(GOLDEN.glob("*.json"))[: 1 if settings.tiny else None]:
        trace = read_trace(path)
        for name in names:
            config = EngineConfig(attention=name, cache_tokens=4_096, **recorded_settings(trace))
            rows = list(replay_fed(trace, Engine(model, tokenizer, config)))
            yield {
                "recording": path.stem,
                "kernel": name,
                "largest_error": max(row.difference for row in rows),
                "ok": all(map(right, rows)),
            }


def right(row: RowComparison) -> bool:
    """Return whether logits and greedy token agree, where the two best logits are apart."""
    return row.difference < 1e-3 and (row.argmax == row.expected or row.margin < 2e-3)
