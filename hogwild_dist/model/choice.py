"""The law by which tokens are chosen from scores, for all rows at once, without any host data.

A token that scores as much as the last one that a filter keeps is kept too, so that the order of
equal scores, which half precision has many of, does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.config import SamplingConfig
from hogwild_dist.kvcache.upload import upload


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of each row, ``[num_rows]`` in float64; they apply in this order.

    Attributes:
        top_k: number of likeliest tokens that are kept; at least the vocabulary keeps all.
        top_p: likeliest tokens are kept until their shares exceed it; infinite keeps all.
        min_p: least share, relative to the likeliest token's.
    """

    top_k: Tensor
    top_p: Tensor
    min_p: Tensor

    @staticmethod
    def numbers(configs: Sequence[SamplingConfig], vocab_size: int) -> list[list[float]]:
        """Return the filters as numbers: a list for each attribute."""
        return [
            [config.top_k or vocab_size for config in configs],
            [config.top_p if config.top_p < 1 else torch.inf for config in configs],
            [config.min_p for config in configs],
        ]

    @classmethod
    def of(
        cls, configs: Sequence[SamplingConfig], vocab_size: int, device: torch.device
    ) -> "Filters":
        """Return the filters of some rows on a device."""
        return cls(*upload(cls.numbers(configs, vocab_size), torch.float64, device))


def likeliest(scores: Tensor, filters: Filters, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens that top-k, top-p and min-p keep, as transformers' processors do.

    Those sort the whole vocabulary once for each filter. The tokens kept are the first in
    descending order of scores, and mostly few, so that the likeliest ones are tried first.

    Args:
        scores: ``[num_rows, vocab_size]`` logits divided by the temperature.
        filters: the filters of each row.
        size: number of likeliest tokens to try: the vocabulary, or more than any top-k below it.

    Returns:
        Token ids ``[num_rows, size]``, the likeliest first; which of them are kept, alike; and
        whether the tokens that were tried suffice, ``[num_rows]``.
    """
    vocab_size = scores.shape[-1]
    values, ids = scores.topk(size, -1)
    top_k, top_p, min_p = (one[:, None] for one in (filters.top_k, filters.top_p, filters.min_p))
    restricted = top_k < vocab_size
    lowest = values.gather(-1, top_k.clamp(max=size).long() - 1)
    values = values.masked_fill(restricted & (values < lowest), -torch.inf)
    whole = torch.where(restricted[:, 0], values.logsumexp(-1), scores.logsumexp(-1))
    shares = (values - whole[:, None]).double().exp()
    keep = (values > -torch.inf) & (shares.cumsum(-1) - shares < top_p)
    keep &= shares >= min_p * shares[:, :1]
    last = values.gather(-1, keep.sum(-1, keepdim=True).clamp(min=1) - 1)
    enough = (values[:, -1] < last[:, 0]) | (size == vocab_size)
    return ids, values >= last, enough


def draw_likeliest(
    scores: Tensor, numbers: Tensor, filters: Filters, size: int
) -> tuple[Tensor, Tensor]:
    """Return a token for each row, drawn from those that its filters keep, and `enough`.

    The running sum goes up by token id, as without filters. Takes the arguments of `likeliest`, and
    the random numbers of the rows, ``[num_rows]``.
    """
    ids, kept, enough = likeliest(scores, filters, size)
    by_id = ids.masked_fill(~kept, scores.shape[-1]).sort(-1)
    by_score = scores.gather(-1, ids).masked_fill(~kept, -torch.inf)
    chosen = draw(by_score.gather(-1, by_id.indices), numbers)
    chosen = chosen.minimum(kept.sum(-1) - 1).clamp(min=0)  # none is kept of what is NaN
    return by_id.values.gather(-1, chosen[:, None])[:, 0], enough


def draw(scores: Tensor, numbers: Tensor) -> Tensor:
    """Return the index in each row at which the running sum of the softmax exceeds its number.

    Args:
        scores: ``[num_rows, n]``.
        numbers: ``[num_rows]`` random numbers in [0, 1).
    """
    rising = scores.double().softmax(-1).cumsum(-1)
    target = numbers[:, None] * rising[:, -1:]
    found = torch.searchsorted(rising, target, right=True)[:, 0]
    return found.clamp(max=scores.shape[-1] - 1)
