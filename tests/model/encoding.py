"""Texts that are encoded in this process alone."""

from collections.abc import Sequence

from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.model_runner import ModelRunner


def encode_alone(runner: ModelRunner, block: Block, token_ids: Sequence[int], chunk: int) -> None:
    """Append tokens to a block that sees only itself, `chunk` tokens in each forward pass."""
    for begin in range(0, len(token_ids), chunk):
        runner.forward([Row((block,), tuple(token_ids[begin : begin + chunk]))])
