"""`load`: an engine for a model, by name."""

from dataclasses import dataclass, field

import torch

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import check_positive
from hogwild_dist.exchange.process_group import pick_backend
from hogwild_dist.model.hub import DEMO_MODEL, resolve_model
from hogwild_dist.model.loader import load_model, load_tokenizer, pick_device
from hogwild_dist.settings import setting


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSettings:
    """Everything that loads an engine.

    Attributes:
        model: a cached name, a hub id, a local directory or a .gguf file.
        device: `cpu`, `cuda`, `cuda:1`; None picks a GPU if there is one.
        dtype: `float32`, `bfloat16`, ...; None picks the checkpoint's where the
            device computes it fast, see `default_dtype`.
        threads: CPU threads; None keeps PyTorch's choice, or divides a node's cores among its
            shards.
        engine: the engine's own settings.
    """

    model: str = setting(DEMO_MODEL, "Cached name, hub id, directory or .gguf file.")
    device: str | None = setting(None, "cpu, cuda, cuda:1, ...; picked if left out.")
    dtype: str | None = setting(
        None, "float32, bfloat16, ...; if left out, the checkpoint's where it is fast."
    )
    threads: int | None = setting(None, "CPU threads of this process, or of each shard.")
    engine: EngineConfig = field(default_factory=EngineConfig)

    def __post_init__(self) -> None:
        check_positive("threads", self.threads)


def load(
    model: str = DEMO_MODEL,
    *,
    device: str | None = None,
    dtype: str | None = None,
    config: EngineConfig | None = None,
) -> Engine:
    """Load a model and return an engine for it; the demo model is fetched on first use.

    Args:
        model: `smollm2-135m`, a hub id, a local directory or a .gguf file.
        device: `cpu`, `cuda`, `cuda:1`; None picks a GPU if there is one.
        dtype: `float32`, `bfloat16`, ...; None picks the checkpoint's where the
            device computes it fast, see `default_dtype`.
        config: the engine's own settings.

    Raises:
        ModelError: the model cannot be found or loaded, or its keys cannot be rotated.
        DownloadError: the download failed.
        ConfigError: the device or the dtype is unknown, or a setting does not fit the device.
    """
    return load_engine(
        LoadSettings(model=model, device=device, dtype=dtype, engine=config or EngineConfig())
    )


def load_engine(settings: LoadSettings) -> Engine:
    """Load a model as `load` does, and let PyTorch use the given number of CPU threads."""
    pick_backend(settings.engine.exchange_backend, pick_device(settings.device))
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    path = resolve_model(settings.model)
    model = load_model(path, name=settings.model, device=settings.device, dtype=settings.dtype)
    return Engine(model, load_tokenizer(path), settings.engine)
