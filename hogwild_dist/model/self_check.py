"""The self-check: a text read as several blocks must give the logits of the plain forward pass.

The plain forward pass is that of the same model with transformers' own attention. The text is
random tokens, which test positions and masks as well as real text does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from hogwild_dist.attention.layer import ATTENTION_NAME
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ModelError, first_line
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.cache import PAGE_TOKENS, KVCache
from hogwild_dist.kvcache.rope import rotate
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.compatibility import refusal
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.small_model import (
    SHORT_CONTEXT,
    SHORT_WINDOW,
    random_model,
    shrink_config,
)

LOGIT_TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-3,
    torch.float16: 0.1,
    torch.bfloat16: 0.5,
}
"""Largest difference of logits, in units of their standard deviation over the vocabulary.

transformers computes angles in single precision, so on SmolLM2-135M float64 agrees only to 4e-6 and
float32 to 2e-5. In half precision the *plain* forward pass is 0.02 (float16) and 0.18 (bfloat16)
away from its own float32 result, and blocks are no further away. Wrong positions cost 0.9.
"""

KEY_TOLERANCE = {
    torch.float64: 1e-5,
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}
"""Largest difference of a rotated key, in units of its standard deviation.

It is at least ten times the rounding of the dtype, and a tenth of the effect of a wrong rotation
(0.3 and more).
"""

QUICK_TEXT = (4, 3)
LONG_TEXT = (100, 80, 20)
SHRUNK_TEXT = (45, 40, 30)
"""Number of tokens of each block."""

CHUNK = 37
"""Most tokens of a block in one forward pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One measured difference.

    Attributes:
        what: what was compared, for the report.
        difference: measured difference, in standard deviations of the correct values.
        tolerance: largest difference that rounding explains.
        fault: meaning of a larger difference; completes "because ...".
    """

    what: str
    difference: float
    tolerance: float
    fault: str

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; False for NaN."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """The result of a model's self-check."""

    name: str
    comparisons: tuple[Comparison, ...]

    @property
    def refusal(self) -> ModelError | None:
        """The error that names the first difference above its tolerance; None if there is none."""
        for done in self.comparisons:
            if not done.passed:
                numbers = f"difference {done.difference:.1e}, tolerance {done.tolerance:.0e}"
                return refusal(self.name, f"{done.fault} ({numbers})")
        return None


def check_model(model: LoadedModel) -> CheckReport:
    """Check a model on a long text, and a small copy beyond its window and context.

    Raises:
        ModelError: the model's own code fails on shared blocks.
    """
    small = _small_model(model)
    return CheckReport(
        name=model.name,
        comparisons=(
            _compare_keys(model),
            _compare_blocks(model, LONG_TEXT, "its weights"),
            _compare_blocks(small, SHRUNK_TEXT, f"small copy, {_limits(small)}"),
        ),
    )


def quick_check(model: LoadedModel) -> None:
    """Check a model on a few tokens, in a few short forward passes.

    Raises:
        ModelError: a difference is above its tolerance, or the model's own code fails.
    """
    comparisons = (_compare_keys(model), _compare_blocks(model, QUICK_TEXT, "its weights"))
    error = CheckReport(name=model.name, comparisons=comparisons).refusal
    if error is not None:
        raise error


def _small_model(model: LoadedModel) -> LoadedModel:
    """Return a small copy with random weights, in float32: not all experts run in float64."""
    with _refuse_failures(model.name):
        config = shrink_config(model.hf_model.config)
        hf_model = random_model(config, dtype=torch.float32, device=model.device)
        return prepare_model(hf_model, name=model.name)


def _limits(small: LoadedModel) -> str:
    """Return the limits that the small model's text exceeds, for the report."""
    window = getattr(small.hf_model.config, "sliding_window", None)
    beyond = f"context {SHORT_CONTEXT}"
    return beyond if window is None else f"window {SHORT_WINDOW}, {beyond}"


def _compare_keys(model: LoadedModel) -> Comparison:
    """Compare a token's rotated key in the first layer with its key at the new position."""
    count = 8
    cache = model.new_cache(count)
    block = cache.new_block("one token repeated")
    runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP))
    with _refuse_failures(model.name):
        runner.forward([Row((block,), tuple(_random_ids(model, 1)) * count)])
    ((start, stop),) = block.spans(0, count)
    keys = cache.keys[0][:, start:stop]
    distance = torch.tensor([count - 1], device=model.device)
    rotated = rotate(keys[:, :1], *cache.rotary.rotation(distance, 0, keys.dtype))
    return Comparison(
        what=f"a key rotated by {count - 1} tokens, {_dtype_name(model)}",
        difference=_difference(rotated, keys[:, -1:]),
        tolerance=KEY_TOLERANCE[model.dtype],
        fault="its keys do not rotate as two halves of a head (interleaved pairs, or reversed)",
    )


def _compare_blocks(model: LoadedModel, text: Sequence[int], where: str) -> Comparison:
    """Compare the logits of a text, read as blocks of `text` tokens, with the plain ones."""
    ids = _random_ids(model, sum(text))
    cuts = _cuts(text)
    with _refuse_failures(model.name):
        read = _read_in_blocks(model, ids, text, cuts)
        plain = _plain_logits(model, ids, [cut - 1 for cut in cuts[1:]])
    blocks = " + ".join(map(str, text))
    return Comparison(
        what=f"{blocks} tokens as {len(text)} blocks, {_dtype_name(model)}, {where}",
        difference=_difference(read, plain),
        tolerance=LOGIT_TOLERANCE[model.dtype],
        fault=f"a text read as {len(text)} blocks gives other logits than in one piece ({where})",
    )


@contextmanager
def _refuse_failures(name: str) -> Iterator[None]:
    """Turn any error of the model's own code into the error that refuses the model."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = first_line(error).rstrip(".")
        raise refusal(name, f"its own code fails on shared blocks: {reason}") from error


def _random_ids(model: LoadedModel, count: int) -> list[int]:
    """Return `count` random token ids, the same in every run."""
    vocab_size = model.hf_model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    ids: list[int] = torch.randint(vocab_size, (count,), generator=generator).tolist()
    return ids


def _cuts(text: Sequence[int]) -> list[int]:
    """Return the bounds of the forward passes; the last tokens are fed one by one."""
    ends = [0, *accumulate(text)]
    chunks = [cut for start, stop in pairwise(ends) for cut in range(start, stop, CHUNK)]
    return sorted({*chunks, *range(ends[-1] - text[-1] // 2, ends[-1] + 1)})


def _read_in_blocks(
    model: LoadedModel, ids: Sequence[int], text: Sequence[int], cuts: Sequence[int]
) -> Tensor:
    """Read a text as blocks, in one forward pass for each pair of cuts.

    Returns:
        Logits ``[len(cuts) - 1, vocab_size]`` after the last token of each forward pass.
    """
    cache = _scattered_cache(model, len(ids))
    runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP))
    blocks = [cache.new_block(str(index)) for index in range(len(text))]
    ends = list(accumulate(text))
    logits = []
    for start, stop in pairwise(cuts):
        index = next(i for i, end in enumerate(ends) if start < end)
        row = Row(tuple(blocks[: index + 1]), tuple(ids[start:stop]))
        logits.append(runner.forward([row])[0][0])
    return torch.stack(logits)


def _scattered_cache(model: LoadedModel, num_tokens: int) -> KVCache:
    """Return a cache without adjacent free pages, which splits every block longer than a page."""
    num_pages = 2 * (num_tokens // PAGE_TOKENS + 4)
    cache = model.new_cache(num_pages * PAGE_TOKENS)
    fillers = [cache.new_block("filler") for _ in range(num_pages)]
    for filler in fillers:
        cache.extend(filler, [0] * PAGE_TOKENS)
    for filler in fillers[::2]:
        cache.free(filler)
    return cache


@torch.inference_mode()
def _plain_logits(model: LoadedModel, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
    """Return logits ``[len(positions), vocab_size]`` with transformers' own attention."""
    with _plain_attention(model.hf_model):
        output = model.hf_model(
            input_ids=torch.tensor([ids], device=model.device),
            use_cache=False,
            logits_to_keep=torch.tensor(positions, device=model.device),
        )
    logits: Tensor = output.logits[0]
    return logits


@contextmanager
def _plain_attention(hf_model: Any) -> Iterator[None]:
    hf_model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        hf_model.set_attn_implementation(ATTENTION_NAME)


def _difference(found: Tensor, right: Tensor) -> float:
    """Return the root mean square of ``found - right`` over the standard deviation of `right`.

    Both are taken over the last dimension; the result is the largest ratio.
    """
    found, right = found.double(), right.double()
    root_mean_square = (found - right).square().mean(-1).sqrt()
    return float((root_mean_square / right.std(-1)).max())


def _dtype_name(model: LoadedModel) -> str:
    return str(model.dtype).removeprefix("torch.")
