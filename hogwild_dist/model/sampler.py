"""Sampling for all rows of a step at once: a few tensor operations and one copy to the host.

Each row has its own settings and its own random number, so a token does not depend on which other
rows are in the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild_dist.config import SamplingConfig
from hogwild_dist.kvcache.upload import upload
from hogwild_dist.model.choice import Filters, draw, draw_likeliest

SHORTLISTS = {"cpu": (256, 4_096), "cuda": (4_096,)}
"""Numbers of likeliest tokens that are tried before the whole vocabulary is sorted, by device; on a
GPU each try waits for the device."""


@dataclass(frozen=True, slots=True)
class SamplingRow:
    """How the token of one row is chosen.

    Attributes:
        config: sampling settings of the worker.
        seen_ids: returns the tokens in the worker's view; called only for a repetition penalty.
        number: random number in [0, 1), not used for greedy choice; None chooses no token.
    """

    config: SamplingConfig
    seen_ids: Callable[[], Sequence[int]]
    number: float | None

    @property
    def draws(self) -> bool:
        """Whether a token is chosen."""
        return self.number is not None


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was chosen for the rows of a step.

    Attributes:
        allowed: ``[num_rows, vocab_size]`` logits after penalties, biases and bans.
        tokens: a token for each row, None where the row asks for none or is not usable.
        usable: whether each row's logits are numbers; NaN and infinity are not.
    """

    allowed: Tensor
    tokens: list[int | None]
    usable: list[bool]


def sample(logits: Tensor, rows: Sequence[SamplingRow]) -> Sampled:
    """Choose the token of each row, with one copy from the device to the host.

    A second copy follows if a row's filters keep more tokens than were tried at first.

    Args:
        logits: ``[num_rows, vocab_size]``; not changed.
        rows: how each row's token is chosen.
    """
    allowed = allowed_logits(logits, rows)
    greedy = [at for at, row in enumerate(rows) if row.draws and row.config.temperature == 0]
    drawn = [at for at, row in enumerate(rows) if row.draws and row.config.temperature > 0]
    plain = [at for at in drawn if not has_filters(rows[at].config)]
    filtered = [at for at in drawn if has_filters(rows[at].config)]
    finite = (logits < torch.inf).all(-1)
    found = [finite.long(), _some(allowed, greedy).argmax(-1), draw(*_scores(allowed, plain, rows))]
    tokens: dict[int, int] = {}
    for size in (*SHORTLISTS.get(logits.device.type, ()), logits.shape[-1]):
        configs = [rows[at].config for at in filtered]
        ids, enough = _draw_filtered(*_scores(allowed, filtered, rows), configs, size)
        numbers = torch.cat([*found, ids, enough.long()]).tolist()
        usable, copied = [bool(one) for one in numbers[: len(rows)]], numbers[len(rows) :]
        order = [*greedy, *plain, *filtered]
        tokens |= dict(zip(order, copied, strict=False))
        whole = copied[len(order) :]
        filtered = [
            at for at, suffices in zip(filtered, whole, strict=True) if usable[at] and not suffices
        ]
        if not filtered:
            break
        greedy, plain, found = [], [], [finite.long()]
    chosen = [tokens.get(at) if usable[at] else None for at in range(len(rows))]
    return Sampled(allowed, chosen, usable)


def allowed_logits(logits: Tensor, rows: Sequence[SamplingRow]) -> Tensor:
    """Return the logits after penalties, biases and bans, which transformers applies in this order.

    Args:
        logits: ``[num_rows, vocab_size]``; not changed.
        rows: how each row's token is chosen.

    Returns:
        ``[num_rows, vocab_size]`` in float32 or wider; forbidden tokens are minus infinity.
    """
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    seen, biased, banned = _seen(rows), _biased(rows), _banned(rows)
    if not (seen or biased or banned):
        return scores
    pairs = [(place[0], place[1]) for place in (*seen, *biased, *banned)]
    columns = [row for row, _ in pairs], [token for _, token in pairs]
    sizes = [len(seen), len(biased), len(banned)]
    split = (torch.split(one, sizes) for one in upload(columns, torch.int64, logits.device))
    seen_at, biased_at, banned_at = zip(*split, strict=True)
    penalties, biases = upload(
        [[row.config.repetition_penalty for row in rows], [bias for *_, bias in biased]],
        scores.dtype,
        logits.device,
    )
    if seen:
        repeated = torch.zeros_like(scores, dtype=torch.bool)
        repeated[seen_at] = True
        penalty = penalties[:, None]
        punished = torch.where(scores < 0, scores * penalty, scores / penalty)
        scores = torch.where(repeated, punished, scores)
    elif scores is logits:
        scores = scores.clone()
    scores.index_put_(biased_at, biases, accumulate=True)
    scores[banned_at] = -torch.inf
    return scores


def _draw_filtered(
    scores: Tensor, numbers: Tensor, configs: Sequence[SamplingConfig], size: int
) -> tuple[Tensor, Tensor]:
    """Return a token for each row, drawn from those that its filters keep, and `enough`."""
    if not configs:
        nothing = torch.empty(0, dtype=torch.int64, device=scores.device)
        return nothing, nothing
    vocab_size = scores.shape[-1]
    size = min(max(size, *(config.top_k + 1 for config in configs)), vocab_size)
    filters = Filters.of(configs, vocab_size, scores.device)
    return draw_likeliest(scores, numbers, filters, size)


def _scores(
    allowed: Tensor, which: Sequence[int], rows: Sequence[SamplingRow]
) -> tuple[Tensor, Tensor]:
    """Return the scores of some rows, and their random numbers."""
    if not which:
        return allowed[:0], allowed.new_empty(0, dtype=torch.float64)
    chosen = [rows[at] for at in which]
    numbers, temperatures = upload(
        [[row.number or 0.0 for row in chosen], [row.config.temperature for row in chosen]],
        torch.float64,
        allowed.device,
    )
    return _some(allowed, which) / temperatures[:, None].to(allowed.dtype), numbers


def _some(logits: Tensor, which: Sequence[int]) -> Tensor:
    """Return some rows, without a copy if they are all or none."""
    if len(which) in {0, len(logits)}:
        return logits[: len(which)]
    (index,) = upload([which], torch.int64, logits.device)
    return logits[index]


def _seen(rows: Sequence[SamplingRow]) -> list[tuple[int, int]]:
    """Return row and token of each token that a row's repetition penalty applies to."""
    return [
        (at, token)
        for at, row in enumerate(rows)
        if row.config.repetition_penalty != 1
        for token in set(row.seen_ids())
    ]


def _biased(rows: Sequence[SamplingRow]) -> list[tuple[int, int, float]]:
    """Return row, token and bias of each bias."""
    return [
        (at, token, bias)
        for at, row in enumerate(rows)
        for token, bias in row.config.logit_bias.items()
    ]


def _banned(rows: Sequence[SamplingRow]) -> list[tuple[int, int]]:
    """Return row and token of each forbidden token."""
    return [(at, token) for at, row in enumerate(rows) for token in row.config.forbidden_ids]


def has_filters(config: SamplingConfig) -> bool:
    """Return whether a worker's tokens are filtered before one is drawn."""
    return bool(config.top_k) or config.top_p < 1 or bool(config.min_p)
