"""The sampling that a model's generation_config.json recommends."""

import json
from pathlib import Path
from typing import Any

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, ModelError, first_line

DRAWN = ("temperature", "top_p", "top_k", "min_p")
"""Fields that count only where the model samples at all (`do_sample`)."""


def check_readable(folder: Path, name: str) -> None:
    """Check that the generation_config.json of a folder is a JSON object, if there is one.

    transformers ignores a file that is not, and with it the tokens that end a text.

    Args:
        folder: folder of the model.
        name: name of the model for the error.

    Raises:
        ModelError: the file cannot be read, or is something else.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = f"cannot be read ({first_line(error).rstrip('.')})"
    else:
        if isinstance(fields, dict):
            return
        reason = f"holds a {type(fields).__name__} where an object is needed"
    raise ModelError(
        f"The generation_config.json of {name!r} {reason}; fetch the model again, or delete the "
        "file."
    )


def sampling_defaults(generation_config: Any, name: str) -> SamplingConfig | None:
    """Return the sampling that a model recommends, or None if it recommends nothing.

    As in transformers, a model without `do_sample` is greedy whatever its temperature says, and one
    with it has the temperature 1 unless it names another. A field that the model leaves out does
    not restrict the choice of tokens.

    Args:
        generation_config: generation settings of a transformers model.
        name: name of the model for the error.

    Raises:
        ModelError: a setting is out of range.
    """
    fields = {}
    if generation_config.do_sample:
        fields = {field: getattr(generation_config, field, None) for field in DRAWN}
        fields["temperature"] = 1.0 if fields["temperature"] is None else fields["temperature"]
    fields["repetition_penalty"] = getattr(generation_config, "repetition_penalty", None)
    named = {field: value for field, value in fields.items() if value is not None}
    if isinstance(named.get("top_k"), float) and named["top_k"].is_integer():
        named["top_k"] = int(named["top_k"])
    try:
        found = SamplingConfig(**named)
    except ConfigError as error:
        reason = str(error).rstrip(".").replace("; it", ", which")
        raise ModelError(
            f"The generation_config.json of {name!r} cannot be used ({reason}); correct the file."
        ) from error
    except TypeError as error:
        raise ModelError(
            f"The generation_config.json of {name!r} has a setting that is no number among "
            f"{', '.join(named)}; correct the file."
        ) from error
    return None if found == SamplingConfig() else found
