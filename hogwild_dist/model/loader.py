"""Loading of transformers decoders, with this project's attention in place of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers  # whose auto classes, when they are looked up, read every model type
from transformers import PreTrainedTokenizerBase

from hogwild_dist.attention import layer as attention
from hogwild_dist.errors import ConfigError, ModelError, first_line
from hogwild_dist.model.compatibility import check_config
from hogwild_dist.model.dtypes import checkpoint_dtype, default_dtype, named_dtype
from hogwild_dist.model.generation_defaults import check_readable
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.self_check import check_model

__all__ = [
    "LoadedModel",
    "load_model",
    "load_tokenizer",
    "pick_device",
    "prepare_model",
]


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device; for None the first GPU, or the CPU.

    Raises:
        ConfigError: the device is unknown or cannot be used.
    """
    if name is not None:
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"Unknown device {name!r}; use cpu, cuda or cuda:N.") from error
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
            raise ConfigError(
                f"Device {name!r} cannot be used ({first_line(error).rstrip('.')}); use cpu, "
                "cuda or cuda:N, as this machine and this build of PyTorch provide."
            ) from error
        return device
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def load_model(
    path: str | Path,
    *,
    name: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> LoadedModel:
    """Load a decoder by hub id or local directory, and check that it can share blocks.

    Takes the arguments of `read_model`.

    Raises:
        ModelError: the model cannot be read, or cannot share blocks.
        ConfigError: the device or dtype is unknown.
    """
    model = read_model(path, name=name, device=device, dtype=dtype)
    error = check_model(model).refusal
    if error is not None:
        raise error
    return model


def read_model(
    path: str | Path,
    *,
    name: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> LoadedModel:
    """Load a decoder without the comparisons of `check_model`.

    Args:
        path: hub id, or directory that transformers can read.
        name: name of the model in errors and traces; None takes `path`.
        device: `cpu`, `cuda`, `cuda:1`; None selects a GPU if there is one.
        dtype: name in `DTYPES`; None selects as `default_dtype` does.

    Raises:
        ModelError: the model cannot be read, or its configuration rules it out.
        ConfigError: the device or dtype is unknown.
    """
    named = None if dtype is None else named_dtype(dtype)
    chosen_device = pick_device(device)
    if chosen_device.type == "cuda":
        torch.cuda.set_device(chosen_device)  # kernels start on the current device
    attention.register()
    label = name or str(path)
    with _one_sentence(f"Model {label!r}"):
        config: Any = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        check_config(config, label)
        check_readable(Path(path), label)
        hf_model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=named or default_dtype(chosen_device, checkpoint_dtype(config, Path(path))),
            device_map=None if chosen_device.type == "cpu" else {"": chosen_device},
            attn_implementation=attention.ATTENTION_NAME,
            trust_remote_code=False,
        )
    return prepare_model(hf_model, name=label)


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Raises:
        ModelError: the tokenizer is missing or cannot be read.
    """
    with _one_sentence(f"The tokenizer of {str(path)!r}"):
        tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            path, trust_remote_code=False
        )
    return tokenizer


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Turn any error of a damaged or unsuitable folder into one sentence.

    Raises:
        ModelError: the folder cannot be loaded, or only with code of its own, which is never run.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{what} needs the code in its own folder (auto_map), which is never run; choose a "
                "model of a type that transformers knows."
            ) from error
        raise ModelError(f"{what} cannot be loaded: {first_line(error)}") from error
