"""The law of sampling, one row at a time, with the processors of transformers."""

from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hogwild_dist.config import SamplingConfig


def allowed_of_row(logits: Tensor, config: SamplingConfig, seen: list[int]) -> Tensor:
    """Logits of one row, ``[vocab_size]``, after penalties, biases and bans."""
    processors: list[LogitsProcessor] = []
    if config.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(float(config.repetition_penalty)))
    if config.logit_bias:
        bias: Any = [[[token], float(value)] for token, value in config.logit_bias.items()]
        processors.append(SequenceBiasLogitsProcessor(bias))
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scores = _processed(processors, torch.tensor([seen], dtype=torch.long), scores)
    return scores.index_fill(0, torch.tensor(config.forbidden_ids, dtype=torch.long), -torch.inf)


def kept_of_row(scores: Tensor, config: SamplingConfig) -> list[int]:
    """The tokens that the filters keep, and those that score as much as the last, by id."""
    scores = scores.double()  # so that a sum at a limit is as exact as can be
    filters: list[LogitsProcessor] = []
    if config.top_k:
        filters.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        filters.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        filters.append(MinPLogitsWarper(config.min_p))
    kept = _processed(filters, torch.empty(1, 0, dtype=torch.long), scores)
    last = scores[kept > -torch.inf].min()
    return (scores >= last).nonzero().flatten().tolist()


def token_of_row(allowed: Tensor, config: SamplingConfig, number: float) -> int:
    """The token at which the running sum of the kept tokens' softmax exceeds the number."""
    if config.temperature == 0:
        return int(allowed.argmax())
    scores = allowed / config.temperature
    kept = kept_of_row(scores, config)
    rising = scores[kept].double().softmax(-1).cumsum(-1)
    place = torch.searchsorted(rising, number * rising[-1], right=True)
    return kept[min(int(place), len(kept) - 1)]


def _processed(processors: list[LogitsProcessor], ids: Tensor, scores: Tensor) -> Tensor:
    return LogitsProcessorList(processors)(ids, scores[None])[0]
