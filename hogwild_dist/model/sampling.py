"""The random numbers of sampling, and the summary of logits for a trace.

The random number is a function of (seed, worker, token index), so any shard can continue any
worker.
"""

import hashlib

from torch import Tensor

from hogwild_dist.exchange.base import LogitsSummary

NUM_TOP = 8
"""Number of largest logits that a trace records for each row."""

LARGEST_MARGIN = 1e30
"""The margin if only one token is allowed, in place of infinity."""


def uniform(seed: int, worker: int, index: int) -> float:
    """Return a number in [0, 1) for token `index` of `worker`, equal on every machine."""
    digest = hashlib.blake2b(f"{seed}/{worker}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def summarize(logits: Tensor, allowed: Tensor) -> LogitsSummary:
    """Return the summary of one row's logits for a trace.

    Args:
        logits: ``[vocab_size]`` logits.
        allowed: ``[vocab_size]`` logits after penalties, biases and bans.
    """
    values, ids = logits.float().topk(NUM_TOP)
    best, second = allowed.float().topk(2).values.tolist()
    return LogitsSummary(
        top_ids=tuple(ids.tolist()),
        top_logits=tuple(values.tolist()),
        logsumexp=float(logits.float().logsumexp(-1)),
        margin=min(float(best - second), LARGEST_MARGIN),
        greedy=int(allowed.argmax()),
    )
