"""A loaded transformers decoder, prepared for shared blocks."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from hogwild_dist.attention import layer as attention
from hogwild_dist.attention.backend import AttentionNeeds
from hogwild_dist.config import SamplingConfig
from hogwild_dist.kvcache.cache import KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.kvcache.slot_writer import SlotWriter, write_by_index
from hogwild_dist.model import cpu_linear
from hogwild_dist.model.compatibility import check_config
from hogwild_dist.model.generation_defaults import sampling_defaults
from hogwild_dist.model.merged_linear import merge_linears


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A description of a model, without the model.

    Attributes:
        name: name that the user gave.
        dtype: name of the dtype, such as `float32`.
        type: model type of its configuration, such as `llama`.
        vocab_size: number of token ids.
        end_ids: end-of-text tokens that its generation settings name.
        sampling: sampling that its generation settings recommend, or None.
    """

    name: str
    dtype: str
    type: str
    vocab_size: int
    end_ids: frozenset[int]
    sampling: SamplingConfig | None = None

    def about(self) -> dict[str, str | int]:
        """Return the fields that a trace records."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "type": self.type,
            "vocab_size": self.vocab_size,
        }


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is prepared for shared blocks.

    Attributes:
        name: name that the user gave.
        hf_model: transformers model in evaluation mode that uses the `hogwild` attention.
        layers: shape of each layer's K and V.
        rotary: tables that rotate queries and moved keys.
        max_positions: context length of the model, in tokens.
        fingerprint: short text that is equal for copies with equal configuration and weights.
        slot_writer: copies new K and V into the slots of a cache.
    """

    name: str
    hf_model: Any
    layers: tuple[LayerShape, ...]
    rotary: RotaryTables
    max_positions: int
    fingerprint: str
    slot_writer: SlotWriter = write_by_index

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = self.hf_model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of activations, K and V."""
        dtype: torch.dtype = self.hf_model.dtype
        return dtype

    @property
    def attention_needs(self) -> AttentionNeeds:
        """What the model asks of an attention backend."""
        num_heads = self.hf_model.config.get_text_config().num_attention_heads
        return AttentionNeeds(
            device=self.device,
            dtype=self.dtype,
            head_dim=max(layer.head_dim for layer in self.layers),
            num_groups=max(num_heads // layer.num_kv_heads for layer in self.layers),
        )

    @property
    def info(self) -> ModelInfo:
        """Description of the model."""
        config = self.hf_model.config.get_text_config()
        return ModelInfo(
            name=self.name,
            dtype=str(self.dtype).removeprefix("torch."),
            type=config.model_type,
            vocab_size=config.vocab_size,
            end_ids=self.end_ids,
            sampling=sampling_defaults(self.hf_model.generation_config, self.name),
        )

    @property
    def end_ids(self) -> frozenset[int]:
        """End-of-text tokens that the model's generation settings name."""
        ids = self.hf_model.generation_config.eos_token_id
        return frozenset(() if ids is None else [ids] if isinstance(ids, int) else ids)

    def new_cache(self, num_tokens: int) -> KVCache:
        """Return an empty cache of `num_tokens` tokens for this model."""
        return KVCache(
            layers=self.layers,
            num_tokens=num_tokens,
            rotary=self.rotary,
            dtype=self.dtype,
            device=self.device,
            slot_writer=self.slot_writer,
        )


def prepare_model(hf_model: Any, *, name: str) -> LoadedModel:
    """Prepare a transformers decoder that is already in memory; it is changed in place.

    Raises:
        ModelError: the model cannot share blocks.
    """
    check_config(hf_model.config, name)
    attention.register()
    rotary = RotaryTables.from_model(hf_model)
    hf_model.eval()
    hf_model.set_attn_implementation(attention.ATTENTION_NAME)
    fingerprint = _fingerprint(hf_model)
    merge_linears(hf_model)
    config = hf_model.config.get_text_config()
    num_heads = config.num_attention_heads
    shape = LayerShape(
        num_kv_heads=getattr(config, "num_key_value_heads", None) or num_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // num_heads,
    )
    slot_writer: SlotWriter = write_by_index
    if hf_model.device.type == "cpu":
        cpu_linear.reorder_linears(hf_model)
    elif find_spec("triton") is not None:
        from hogwild_dist.model.fused.install import fuse  # noqa: PLC0415  # needs triton
        from hogwild_dist.model.fused.slot_writer import find_slot_writer  # noqa: PLC0415  # alike

        fuse(hf_model, rotary)
        slot_writer = find_slot_writer(shape, hf_model.device, hf_model.dtype)
    return LoadedModel(
        name=name,
        hf_model=hf_model,
        layers=(shape,) * config.num_hidden_layers,
        rotary=rotary,
        max_positions=config.max_position_embeddings,
        fingerprint=fingerprint,
        slot_writer=slot_writer,
    )


def _fingerprint(hf_model: Any) -> str:
    """Return a short text that is equal for copies with equal configuration and weights.

    Only the beginning of each weight is read, so this takes milliseconds.
    """
    digest = hashlib.blake2b(digest_size=8)
    config = {**hf_model.config.to_dict(), "_name_or_path": None}
    digest.update(repr(sorted(config.items())).encode())
    for name, weight in hf_model.state_dict().items():
        head = weight.flatten()[:16].double().tolist()
        digest.update(f"{name} {tuple(weight.shape)} {head}".encode())
    return digest.hexdigest()
