"""Compatibility of a model with shared blocks, judged by its configuration alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hogwild_dist.errors import ModelError
from hogwild_dist.kvcache.rope import check_rope_type

POSITIONS_OF_TYPE = {
    "bert": "learned",
    "gpt2": "learned",
    "gpt_bigcode": "learned",
    "gpt_neo": "learned",
    "opt": "learned",
    "bloom": "ALiBi",
    "mpt": "ALiBi",
}
"""Model type -> kind of positions, for types whose configuration does not name it."""

REASON_OF_TYPE = {
    "gptj": "rotates interleaved pairs of a head",
    "codegen": "rotates interleaved pairs of a head",
    "roformer": "rotates interleaved pairs of a head",
    "hunyuan_v1_dense": "normalises its keys after their rotation",
    "hunyuan_v1_moe": "normalises its keys after their rotation",
    "jetmoe": "lets each token choose among experts for its attention",
    "moshi": "keeps its rotary tables inside its attention layers",
    "hrm_text": "runs its layers several times for each token",
    "ministral3": "scales queries by their absolute position",
    "gpt_oss": "gives a part of its attention to learned sinks",
}
"""Model type -> reason, for types whose configuration does not tell it."""

LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "attention"})
"""Layer types that read keys and values as the shared cache stores them."""


def refusal(name: str, reason: str) -> ModelError:
    """Return the error that refuses a model; `reason` completes "because ..."."""
    return ModelError(
        f"Model {name!r} cannot share blocks, because {reason}; choose a decoder with plain rotary "
        "positions, such as a Llama, Qwen or Mistral model."
    )


def check_config(config: Any, name: str) -> None:
    """Refuse a model whose configuration shows that it cannot share blocks.

    Args:
        config: configuration of a transformers model.
        name: name of the model for the error.

    Raises:
        ModelError: the model cannot share blocks; the sentence names the reason.
    """
    for reason in _reasons(config):
        raise refusal(name, reason)
    text = config.get_text_config()
    for table in _rope_tables(text):
        check_rope_type(text.model_type, table["rope_type"])


def _reasons(config: Any) -> Iterator[str]:
    """Yield the reasons against a model except its RoPE type, the clearest first."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING  # noqa: PLC0415  # reads every model type

    kind = config.model_type
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if config.is_encoder_decoder:
        yield f"{kind!r} is an encoder-decoder and not a decoder alone"
    if model_class is None:
        yield f"transformers has no decoder of type {kind!r}"
    text = config.get_text_config()
    fields: Mapping[str, Any] = text.to_dict()
    positions = "ALiBi" if fields.get("alibi") else POSITIONS_OF_TYPE.get(kind)
    if positions is not None:
        yield f"{kind!r} has {positions} positions and not rotary ones (RoPE)"
    if kind in REASON_OF_TYPE:
        yield f"{kind!r} {REASON_OF_TYPE[kind]}"
    if not fields.get("rope_parameters"):
        yield f"{kind!r} has no rotary positions (RoPE)"
    yield from _layer_reasons(kind, text, fields)
    if not model_class.is_backend_compatible():
        yield f"{kind!r} does not use transformers' attention interface"


def _layer_reasons(kind: str, text: Any, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reasons against the layers of a decoder with rotary positions."""
    tables = _rope_tables(text)
    for layer_type in (*(fields.get("layer_types") or ()), *(fields.get("block_types") or ())):
        if layer_type not in LAYER_TYPES:
            yield f"{kind!r} has layers of the type {layer_type!r}, which need another cache"
    if text.is_heterogeneous:
        yield f"the layers of {kind!r} differ in shape"
    if fields.get("kv_lora_rank"):
        yield f"{kind!r} compresses its keys and values (multi-head latent attention)"
    if fields.get("v_head_dim") not in (None, fields.get("head_dim")):
        yield f"the values of {kind!r} differ in size from its keys (v_head_dim)"
    if fields.get("attn_logit_softcapping"):
        yield f"{kind!r} caps its attention scores (attn_logit_softcapping)"
    if None in tables or not all(fields.get("no_rope_layers") or ()):
        yield f"some layers of {kind!r} have no positions"
    if any("llama_4_scaling_beta" in table for table in tables):
        yield f"{kind!r} scales queries by their absolute position (llama_4_scaling_beta)"


def _rope_tables(text: Any) -> Sequence[Any]:
    """Return the RoPE parameters of a text configuration, a mapping or None per table."""
    parameters = text.rope_parameters
    kinds = dict.fromkeys(getattr(text, "layer_types", None) or ())
    return [parameters[kind] for kind in kinds if kind in parameters] or [parameters]
