"""The call of transformers' own model code for packed tokens."""

from typing import Any

from torch import Tensor

from hogwild_dist.attention.layer import StepContext


def forward(
    hf_model: Any, token_ids: Tensor, positions: Tensor, last_of_rows: Tensor, context: StepContext
) -> Tensor:
    """Return the logits after each row's last token, ``[num_rows, vocab_size]``.

    Args:
        hf_model: transformers model that uses the `hogwild` attention.
        token_ids: ``[num_tokens]`` new tokens, row by row.
        positions: ``[num_tokens]`` block-local positions.
        last_of_rows: ``[num_rows]`` packed index of each row's last token.
        context: shared state of the attention layers.
    """
    output = hf_model(
        input_ids=token_ids[None],
        position_ids=positions[None],
        use_cache=False,
        logits_to_keep=last_of_rows,
        hogwild=context,
    )
    logits: Tensor = output.logits[0]
    return logits
