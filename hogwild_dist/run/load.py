"""From a model's name to an engine."""

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import load_model, load_tokenizer


def load(
    model: str = DEMO_MODEL,
    *,
    device: str | None = None,
    dtype: str | None = None,
    config: EngineConfig | None = None,
) -> Engine:
    """Load a model, fetching the demo model on first use, and make an engine for it.

    Args:
        model: `smollm2-135m`, a hub id, a local directory or a .gguf file.
        device: `cpu`, `cuda`, `cuda:1`; None picks a GPU if there is one.
        dtype: `float32`, `bfloat16`, ...; None picks bfloat16 on a GPU, float32 on a CPU.
        config: sizes and visibility.

    Raises:
        ModelError: it cannot be found or loaded, or its positions cannot be turned.
        DownloadError: fetching it failed.
        ConfigError: an unknown device or dtype.
    """
    path = resolve_model(model)
    loaded = load_model(path, name=model, device=device, dtype=dtype)
    return Engine(loaded, load_tokenizer(path), config)
