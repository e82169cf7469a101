"""Sampling: the choice of the next token.

The random number is a function of (seed, worker, token index), so any shard can continue any
worker.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ModelError
from hogwild_dist.exchange.base import LogitsSummary

NUM_TOP = 8
"""Number of largest logits that a trace records for each row."""

SHORTLISTS = (256, 4_096)
"""Numbers of likeliest tokens that are tried before the whole vocabulary is sorted."""

LARGEST_MARGIN = 1e30
"""The margin if only one token is allowed, in place of infinity."""


def uniform(seed: int, worker: int, index: int) -> float:
    """Return a number in [0, 1) for token `index` of `worker`, equal on every machine."""
    digest = hashlib.blake2b(f"{seed}/{worker}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def check_logits(logits: Tensor, model: str) -> None:
    """Refuse logits from which no token can be chosen.

    Args:
        logits: ``[..., vocab_size]``; minus infinity marks a token that cannot be chosen.
        model: name of the model.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    if not bool((logits < torch.inf).all()):
        raise ModelError(
            f"Model {model!r} computes scores that are not numbers (NaN or infinite), so no token "
            "can be chosen: its weights are damaged, or too large for the dtype; use another "
            "--dtype, such as float32, or another model."
        )


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


class Sampler:
    """Chooses tokens for one worker.

    Args:
        config: sampling settings of the worker.
        device: device of the logits.
    """

    def __init__(self, config: SamplingConfig, device: torch.device) -> None:
        self.greedy = config.temperature == 0
        self._config = config
        self._wants_history = config.repetition_penalty != 1
        self._processors = LogitsProcessorList(_logits_processors(config))
        self._forbidden = torch.tensor(config.forbidden_ids, dtype=torch.long, device=device)

    def allowed(self, logits: Tensor, seen_ids: Callable[[], list[int]]) -> Tensor:
        """Return the logits after penalties, biases and bans.

        Args:
            logits: ``[vocab_size]`` logits.
            seen_ids: returns the tokens in the worker's view; called only for a repetition penalty.

        Returns:
            ``[vocab_size]``; forbidden tokens are minus infinity.
        """
        history = seen_ids() if self._wants_history else []
        scores = _process(self._processors, history, logits)
        return scores.index_fill(0, self._forbidden, -torch.inf)

    def choose(self, allowed: Tensor, number: float) -> int:
        """Choose a token.

        Args:
            allowed: ``[vocab_size]`` logits from `allowed`.
            number: random number in [0, 1); not used for greedy choice.
        """
        if self.greedy:
            return int(allowed.argmax())
        scores = allowed / self._config.temperature
        if not _filters(self._config):
            return _draw(scores, number)
        ids = likeliest(scores, self._config).sort().values
        return int(ids[_draw(scores[ids], number)])


def likeliest(scores: Tensor, config: SamplingConfig) -> Tensor:
    """Return the tokens that top-k, top-p and min-p keep, as transformers' processors do.

    Those processors sort the whole vocabulary once for each filter, which took a third of a step
    of many sessions. The tokens kept are the first in descending order of scores, and mostly few.

    Args:
        scores: ``[vocab_size]`` logits divided by the temperature.
        config: the filters, which apply in the order of transformers.

    Returns:
        ``[num_kept]`` token ids, the likeliest first.
    """
    whole = scores.logsumexp(-1)
    for wanted in (*SHORTLISTS, len(scores)):
        size = min(max(wanted, config.top_k), len(scores))
        values, ids = scores.topk(size)
        num_kept = _num_kept(values, whole, config)
        if num_kept < size or num_kept == config.top_k:
            break
    return ids[:num_kept]


def _num_kept(values: Tensor, whole: Tensor, config: SamplingConfig) -> int:
    """Return how many of the likeliest tokens the filters keep.

    Args:
        values: scores of the likeliest tokens, in descending order.
        whole: log-sum-exp of all scores.
        config: the filters.
    """
    if config.top_k and config.top_k <= len(values):
        values = values[: config.top_k]
        whole = values.logsumexp(-1)
    shares = (values - whole).double().exp()
    keep = values > -torch.inf
    if config.top_p < 1:
        keep &= shares.cumsum(-1) - shares < config.top_p
    if config.min_p:
        keep &= shares >= config.min_p * shares[0]
    return max(1, int(keep.sum()))


def _filters(config: SamplingConfig) -> bool:
    return bool(config.top_k) or config.top_p < 1 or bool(config.min_p)


def _draw(scores: Tensor, number: float) -> int:
    """Return the index at which the running sum of the softmax exceeds `number`."""
    rising = scores.double().softmax(-1).cumsum(-1)
    target = number * rising[-1]
    return int(torch.searchsorted(rising, target, right=True).clamp(max=len(rising) - 1))


def _process(processors: LogitsProcessorList, history: list[int], scores: Tensor) -> Tensor:
    ids = torch.tensor([history], dtype=torch.long, device=scores.device)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    processed: Tensor = processors(ids, scores[None])  # type: ignore[arg-type]
    return processed[0]


def _logits_processors(config: SamplingConfig) -> list[LogitsProcessor]:
    """Return the processors that also apply to greedy choice."""
    processors: list[LogitsProcessor] = []
    if config.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(float(config.repetition_penalty)))
    if config.logit_bias:
        bias: Any = [[[token], float(value)] for token, value in config.logit_bias.items()]
        processors.append(SequenceBiasLogitsProcessor(bias))
    return processors
