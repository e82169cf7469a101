"""`StaticSampler`: chooses tokens from fixed buffers, by the law of `sampler.sample`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hogwild_dist.config import SamplingConfig
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.upload import upload
from hogwild_dist.model.choice import Filters, draw, draw_likeliest
from hogwild_dist.model.graphs.arena import Arena
from hogwild_dist.model.graphs.captured_pass import Capture, CapturedPass
from hogwild_dist.model.sampler import Sampled, SamplingRow, has_filters

SHORTLIST = 4_096
"""Number of likeliest tokens among which filters choose."""

FIELDS = ("temperature", "penalty", "number", "top_k", "top_p", "min_p", "filtered")
"""What may change from step to step: one number for each row."""


@dataclass(slots=True)
class _Rules:
    """What the buffers hold of a row's rules.

    Attributes:
        config: the sampling settings whose biases and bans are in the buffers.
        seen: tokens that the repetition penalty applies to.
    """

    config: SamplingConfig = field(default_factory=SamplingConfig)
    seen: frozenset[int] = frozenset()


class StaticSampler:
    """Chooses the tokens of up to a number of rows.

    Args:
        num_rows: number of rows that the buffers hold.
        like: logits ``[any, vocab_size]`` of the dtype and on the device that rows will have.
        capture: captures the pass of one way to choose; there are ways for greedy rows alone, with
            filters, and with draws from the whole vocabulary.
    """

    def __init__(self, num_rows: int, like: Tensor, capture: Capture) -> None:
        device = like.device
        shape = (num_rows, like.shape[-1])
        wide = torch.promote_types(like.dtype, torch.float32)
        self._capture = capture
        self._logits = torch.zeros(shape, dtype=like.dtype, device=device)
        self._allowed = torch.zeros(shape, dtype=wide, device=device)
        self._biases = torch.zeros(shape, dtype=wide, device=device)
        self._seen = torch.zeros(shape, dtype=torch.bool, device=device)
        self._rules = [_Rules() for _ in range(num_rows)]
        self._arena = Arena(dict.fromkeys(FIELDS, num_rows), device, torch.float64)
        self._passes: dict[tuple[bool, bool], CapturedPass] = {}
        self.fill(())  # a capture begins with passes over dummies, of which zeros are none

    @property
    def num_rows(self) -> int:
        """Number of rows that the buffers hold."""
        return len(self._rules)

    def holds(self, rows: Sequence[SamplingRow]) -> bool:
        """Return whether the rows fit, and their filters keep less than the shortlist."""
        size = min(SHORTLIST, self._logits.shape[-1])
        return len(rows) <= self.num_rows and all(row.config.top_k < size for row in rows)

    def prepare(self, rows: Sequence[SamplingRow]) -> CapturedPass:
        """Return the pass of the way to choose that the rows need.

        Raises:
            RuntimeError: it is made now, and cannot be captured.
        """
        drawn = [row.config for row in rows if row.config.temperature]
        filtered = any(map(has_filters, drawn))
        plain = not all(map(has_filters, drawn))
        way = (filtered, plain)
        if way not in self._passes:

            def choose(_peers: LayerExchange | None) -> Tensor:
                return self._choose(filtered, plain)

            self._passes[way] = self._capture(choose)
        return self._passes[way]

    def fill(self, rows: Sequence[SamplingRow]) -> None:
        """Copy the numbers of the rows to the device, without waiting for it."""
        configs = [row.config for row in rows]
        top_k, top_p, min_p = Filters.numbers(configs, self._logits.shape[-1])
        numbers: dict[str, list[float]] = {
            "temperature": [config.temperature for config in configs],
            "penalty": [config.repetition_penalty for config in configs],
            "number": [row.number or 0.0 for row in rows],
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "filtered": [has_filters(config) for config in configs],
        }
        self._arena.fill(numbers, {"penalty": 1.0, "top_k": 1.0})

    def sample(self, logits: Tensor, rows: Sequence[SamplingRow]) -> Sampled | None:
        """Choose the token of each row; see `sampler.sample`.

        Returns:
            The tokens; None if the likeliest tokens do not suffice for the filters of a row.
        """
        self._logits[: len(rows)].copy_(logits)
        for at, row in enumerate(rows):
            self._update(at, row)
        self.fill(rows)
        chosen, enough, finite = self.prepare(rows).run()[:, : len(rows)].tolist()
        usable = [bool(one) for one in finite]
        draws = [row.draws and one for row, one in zip(rows, usable, strict=True)]
        if not all(one or not drawn for one, drawn in zip(enough, draws, strict=True)):
            return None
        tokens = [one if drawn else None for one, drawn in zip(chosen, draws, strict=True)]
        return Sampled(self._allowed[: len(rows)].clone(), tokens, usable)

    def _update(self, at: int, row: SamplingRow) -> None:
        """Bring a row's biases, bans and seen tokens up to date; mostly nothing has changed."""
        rules, config = self._rules[at], row.config
        if config is not rules.config and config != rules.config:
            self._write_biases(at, config)
        seen = frozenset(row.seen_ids()) if config.repetition_penalty != 1 else frozenset()
        if not seen >= rules.seen:
            self._seen[at] = False
            rules.seen = frozenset()
        new = list(seen - rules.seen)
        if new:
            (tokens,) = upload([new], torch.int64, self._seen.device)
            self._seen[at, tokens] = True
        self._rules[at] = _Rules(config, seen)

    def _write_biases(self, at: int, config: SamplingConfig) -> None:
        """Replace a row's biases and bans."""
        biases, device = config.logit_bias, self._biases.device
        biased, banned = upload((list(biases), config.forbidden_ids), torch.int64, device)
        (added,) = upload([list(biases.values())], self._biases.dtype, device)
        self._biases[at] = 0.0
        self._biases[at, biased] = added
        self._biases[at, banned] = -torch.inf

    def _choose(self, filtered: bool, plain: bool) -> Tensor:
        """Return token, `enough` and whether logits are usable, ``[3, num_rows]``."""
        fields = self._arena.fields
        scores = self._logits.to(self._allowed.dtype)
        penalty = fields["penalty"].to(scores.dtype)[:, None]
        punished = torch.where(scores < 0, scores * penalty, scores / penalty)
        allowed = torch.where(self._seen, punished, scores) + self._biases
        self._allowed.copy_(allowed)
        tokens = allowed.argmax(-1)
        draws = fields["temperature"] > 0
        temperature = torch.where(draws, fields["temperature"], 1.0).to(scores.dtype)
        scaled, numbers = allowed / temperature[:, None], fields["number"]
        enough = torch.ones_like(draws)
        if plain:
            tokens = torch.where(draws, draw(scaled, numbers), tokens)
        if filtered:
            filters = Filters(fields["top_k"], fields["top_p"], fields["min_p"])
            size = min(SHORTLIST, scaled.shape[-1])
            found, suffices = draw_likeliest(scaled, numbers, filters, size)
            which = draws & (fields["filtered"] > 0)
            tokens, enough = torch.where(which, found, tokens), suffices | ~which
        usable = (self._logits < torch.inf).all(-1)
        return torch.stack((tokens, enough.long(), usable.long()))
