"""Load a transformers decoder with this project's attention in place of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from hogwild_dist import attention, cpu_linear
from hogwild_dist.cache import KVCache, LayerShape
from hogwild_dist.errors import ConfigError, ModelError
from hogwild_dist.rope import RotaryTables

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is ready for shared blocks.

    Attributes:
        name: as the user named it.
        network: the transformers model, in evaluation mode, using the `hogwild` attention.
        layers: shape of each layer's K and V.
        rotary: tables to turn queries and moved keys.
        max_positions: longest view that the model was made for, in tokens.
    """

    name: str
    network: Any
    layers: tuple[LayerShape, ...]
    rotary: RotaryTables
    max_positions: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.network.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of activations, K and V."""
        dtype: torch.dtype = self.network.dtype
        return dtype

    def new_cache(self, num_tokens: int) -> KVCache:
        """Make an empty cache of this model's shape for `num_tokens` tokens."""
        return KVCache(
            layers=self.layers,
            num_tokens=num_tokens,
            rotary=self.rotary,
            dtype=self.dtype,
            device=self.device,
        )


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the first GPU, or the CPU."""
    if name is not None:
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"Unknown device {name!r}; use cpu, cuda or cuda:N.") from error
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def pick_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The named dtype, or bfloat16 on a GPU and float32 on a CPU."""
    if name is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}; use one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def load_model(
    path: str | Path,
    *,
    name: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> LoadedModel:
    """Load a decoder by hub id or local directory.

    Args:
        path: a hub id or a directory that transformers can read.
        name: what errors and traces call it; `path` where None.
        device: `cpu`, `cuda`, `cuda:1`; None picks a GPU if there is one.
        dtype: a name in `DTYPES`; None picks bfloat16 on a GPU, float32 on a CPU.

    Raises:
        ModelError: it cannot be read, or its positions cannot be turned.
        ConfigError: an unknown device or dtype.
    """
    chosen_device = pick_device(device)
    chosen_dtype = pick_dtype(dtype, chosen_device)
    attention.register()
    label = name or str(path)
    try:
        config: Any = AutoConfig.from_pretrained(path)
        network: Any = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=chosen_dtype, attn_implementation=attention.ATTENTION_NAME
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"Model {label!r} cannot be loaded: {reason}") from error
    return prepare_model(network.to(chosen_device), name=label)


def prepare_model(network: Any, *, name: str) -> LoadedModel:
    """Wrap a transformers decoder that is already in memory; it is changed in place.

    Raises:
        ModelError: its positions cannot be turned.
    """
    attention.register()
    rotary = RotaryTables.from_model(network)
    network.eval()
    network.set_attn_implementation(attention.ATTENTION_NAME)
    if network.device.type == "cpu":
        cpu_linear.reorder_linears(network)
    config = network.config.get_text_config()
    head_dim = getattr(config, "head_dim", None)
    shape = LayerShape(
        num_kv_heads=config.num_key_value_heads,
        head_dim=head_dim or config.hidden_size // config.num_attention_heads,
    )
    return LoadedModel(
        name=name,
        network=network,
        layers=(shape,) * config.num_hidden_layers,
        rotary=rotary,
        max_positions=config.max_position_embeddings,
    )


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"The tokenizer of {str(path)!r} cannot be loaded: {reason}") from error
    return tokenizer
