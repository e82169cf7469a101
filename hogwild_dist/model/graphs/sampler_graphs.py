"""`SamplerGraphs`: samples from fixed buffers, made when a number of rows is first met."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from hogwild_dist.model.graphs.capturer import Capturer, attempt
from hogwild_dist.model.graphs.static_sampler import StaticSampler
from hogwild_dist.model.graphs.step_size import TOKENS
from hogwild_dist.model.sampler import Sampled, SamplingRow, sample


class SamplerGraphs:
    """Chooses the tokens of all rows of a step: from fixed buffers where they fit.

    Args:
        capturer: captures passes.
    """

    def __init__(self, capturer: Capturer) -> None:
        self._capturer = capturer
        self._samplers: dict[int, StaticSampler | None] = {}

    def sample(self, logits: Tensor, rows: Sequence[SamplingRow]) -> Sampled:
        """Choose the token of each row; see `sampler.sample`."""
        sampler = self._sampler(logits, rows)
        if sampler is not None and sampler.holds(rows):
            sampled = sampler.sample(logits, rows)
            if sampled is not None:
                return sampled
        return sample(logits, rows)

    def _sampler(self, logits: Tensor, rows: Sequence[SamplingRow]) -> StaticSampler | None:
        """Return a sampler that is ready for the rows, or None if there is none."""
        size = next((size for size in TOKENS if len(rows) <= size), None)
        if size is None:
            return None
        what = f"samplers of up to {size} rows"
        if size not in self._samplers:
            make = partial(StaticSampler, size, logits, self._capturer.capture)
            self._samplers[size] = attempt(what, make)
        sampler = self._samplers[size]
        if sampler is not None and attempt(what, partial(sampler.prepare, rows)) is None:
            self._samplers[size] = None
        return self._samplers[size]
