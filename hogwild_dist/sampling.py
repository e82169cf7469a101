"""Choosing the next token, with transformers' logits processors.

The random number is a function of (seed, worker, token index), so that any shard can continue any
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
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ModelError
from hogwild_dist.exchange.base import LogitsSummary

NUM_TOP = 8
"""Largest logits that a trace keeps for each row."""

LARGEST_MARGIN = 1e30
"""Stands for an infinite margin, where one token alone is allowed."""


def uniform(seed: int, worker: int, index: int) -> float:
    """A number in [0, 1) for token `index` of `worker`; the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{worker}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def check_logits(logits: Tensor, model: str) -> None:
    """Refuse logits that nothing can be chosen from.

    Args:
        logits: of one or more rows; minus infinity is a token that cannot be chosen.
        model: its name.

    Raises:
        ModelError: one is not a number, or infinite.
    """
    if not bool((logits < torch.inf).all()):
        raise ModelError(
            f"Model {model!r} computes scores that are no numbers (NaN or infinite), so that no "
            "token can be chosen: its weights are damaged, or too large for the dtype; use another "
            "--dtype, float32 say, or another model."
        )


def summarize(logits: Tensor, allowed: Tensor) -> LogitsSummary:
    """What a trace keeps of one row's logits.

    Args:
        logits: ``[vocab_size]``.
        allowed: the same after penalties, biases and bans.
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
        config: how.
        device: of the logits.
    """

    def __init__(self, config: SamplingConfig, device: torch.device) -> None:
        self.greedy = config.temperature == 0
        self._wants_history = config.repetition_penalty != 1
        self._allow = LogitsProcessorList(_allowing(config, device))
        self._shape = LogitsProcessorList([] if self.greedy else _shaping(config))

    def allowed(self, logits: Tensor, seen_ids: Callable[[], list[int]]) -> Tensor:
        """Logits after penalties, biases and bans.

        Args:
            logits: ``[vocab_size]``.
            seen_ids: gives the tokens in the worker's view; called only for a repetition penalty.

        Returns:
            ``[vocab_size]``; forbidden tokens are minus infinity.
        """
        history = seen_ids() if self._wants_history else []
        return _process(self._allow, history, logits)

    def choose(self, allowed: Tensor, number: float) -> int:
        """Pick a token.

        Args:
            allowed: from `allowed`.
            number: in [0, 1); unused when greedy.
        """
        if self.greedy:
            return int(allowed.argmax())
        scores = _process(self._shape, [], allowed)
        rising = scores.double().softmax(-1).cumsum(-1)
        target = number * rising[-1]
        return int(torch.searchsorted(rising, target, right=True).clamp(max=len(rising) - 1))


def _process(processors: LogitsProcessorList, history: list[int], scores: Tensor) -> Tensor:
    ids = torch.tensor([history], dtype=torch.long, device=scores.device)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    processed: Tensor = processors(ids, scores[None])  # type: ignore[arg-type]
    return processed[0]


def _allowing(config: SamplingConfig, device: torch.device) -> list[LogitsProcessor]:
    """Processors that apply to greedy choice as well."""
    processors: list[LogitsProcessor] = []
    if config.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(float(config.repetition_penalty)))
    if config.logit_bias:
        bias: Any = [[[token], float(value)] for token, value in config.logit_bias.items()]
        processors.append(SequenceBiasLogitsProcessor(bias))
    if config.forbidden_ids:
        processors.append(SuppressTokensLogitsProcessor(list(config.forbidden_ids), str(device)))
    return processors


def _shaping(config: SamplingConfig) -> list[LogitsProcessor]:
    """Processors that shape the distribution, in transformers' own order."""
    processors: list[LogitsProcessor] = []
    if config.temperature != 1:
        processors.append(TemperatureLogitsWarper(float(config.temperature)))
    if config.top_k:
        processors.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        processors.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        processors.append(MinPLogitsWarper(config.min_p))
    return processors
