"""How a trace keeps the sampling of a worker."""

from collections.abc import Mapping
from typing import Any

from hogwild_dist.config import SamplingConfig


def sampling_to_json(config: SamplingConfig) -> dict[str, Any]:
    """An entry of a trace's `sampling`."""
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    bias = {str(token): value for token, value in config.logit_bias.items()}
    return fields | {"forbidden_ids": list(config.forbidden_ids), "logit_bias": bias}


def sampling_from_json(fields: Mapping[str, Any]) -> SamplingConfig:
    """The sampling that a trace was recorded with."""
    bias = {int(token): value for token, value in fields["logit_bias"].items()}
    made = {**fields, "forbidden_ids": tuple(fields["forbidden_ids"]), "logit_bias": bias}
    return SamplingConfig(**made)
