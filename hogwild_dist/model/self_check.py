"""The self-check: a text read as several blocks must give the logits of the plain forward pass.

The plain forward pass is that of the same model with transformers' own attention. The text is
random tokens, which test positions and masks as well as real text does.

Whether a *kind* of model can share blocks is decided on a small copy in float32, which no rounding
hides. The model's own weights are compared as well as its dtype allows.
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
from hogwild_dist.errors import ModelError
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
    check_small,
    has_experts,
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
"""Largest difference of a rotated key of the first layer, in units of its standard deviation.

It is at least ten times the rounding of the dtype, and a tenth of the effect of a wrong rotation
(0.3 and more).
"""

DEEP_KEY_TOLERANCE = 1e-3
"""The same for a key of a later layer in float32, in which rounding has added up."""

QUICK_TEXT = (4, 3)
LONG_TEXT = (100, 80, 20)
SMALL_TEXT = (45, 40, 30)
"""Number of tokens of each block: of the model, of one without a small copy, of a small copy."""

WEIGHTS = "its weights"
NOT_HALVES = "it does not rotate its keys as two halves of a head"

REPEATS = 8
"""How often a token is repeated to compare its keys."""

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
    """Check a model's weights on a few tokens, and a small copy beyond its window and context.

    The small copy is in float32 on the CPU, whatever the model's dtype and device.

    Raises:
        ModelError: the model's own code fails on shared blocks, or no small copy can be made of a
            model in half precision.
    """
    small = _small_copy(model)
    if small is None:
        return CheckReport(
            name=model.name,
            comparisons=(_compare_first_keys(model), _compare_blocks(model, LONG_TEXT, WEIGHTS)),
        )
    return CheckReport(
        name=model.name,
        comparisons=(
            _compare_all_keys(small),
            _compare_first_keys(model),
            _compare_blocks(small, SMALL_TEXT, f"small copy, {_limits(small)}"),
            _compare_blocks(model, QUICK_TEXT, WEIGHTS),
        ),
    )


def _small_copy(model: LoadedModel) -> LoadedModel | None:
    """Return a small copy with random weights in float32, or None if none can be made.

    Raises:
        ModelError: none can be made, and the model's own dtype is too coarse to do without.
    """
    try:
        config = shrink_config(model.hf_model.config)
        check_small(config)
        hf_model = random_model(config, dtype=torch.float32, device=torch.device("cpu"))
    except Exception as error:  # the model's own code may raise anything on odd sizes
        if model.dtype in (torch.float64, torch.float32):
            return None
        raise ModelError(
            f"Model {model.name!r} can be checked only in float32, since no small copy of it can "
            "be made; add --dtype float32."
        ) from error
    return prepare_model(hf_model, name=model.name)


def _limits(small: LoadedModel) -> str:
    """Return the limits that the small model's text exceeds, for the report."""
    window = getattr(small.hf_model.config, "sliding_window", None)
    beyond = f"context {SHORT_CONTEXT}"
    return beyond if window is None else f"window {SHORT_WINDOW}, {beyond}"


def _compare_all_keys(small: LoadedModel) -> Comparison:
    """Compare a token's rotated key with its key at the new position, in every layer.

    A text of one repeated token has the same hidden state at every position, since attention
    averages equal values; so the keys of a layer differ by their rotation alone.
    """
    differences: list[float] = []
    faults: dict[str, list[int]] = {}
    for layer, keys in enumerate(_repeated_keys(small)):
        differences.append(keys.difference)
        if keys.difference > DEEP_KEY_TOLERANCE:
            faults.setdefault(keys.fault, []).append(layer)
    fault, layers = next(iter(faults.items()), (NOT_HALVES, []))
    return Comparison(
        what=f"keys of all {len(differences)} layers rotated by {REPEATS - 1} tokens, small copy",
        difference=max(differences),
        tolerance=DEEP_KEY_TOLERANCE,
        fault=fault + _in_layers(layers, len(differences)),
    )


def _compare_first_keys(model: LoadedModel) -> Comparison:
    """Compare a token's rotated key in the first layer with its key at the new position."""
    keys = _repeated_keys(model)[0]
    return Comparison(
        what=f"a key rotated by {REPEATS - 1} tokens, {_dtype_name(model)}, {WEIGHTS}",
        difference=keys.difference,
        tolerance=KEY_TOLERANCE[model.dtype],
        fault=keys.fault,
    )


@dataclass(frozen=True, slots=True)
class _RepeatedKeys:
    """Keys of one layer for a repeated token, ``[num_kv_heads, 1, head_dim]`` each.

    Attributes:
        first: key at the first position.
        rotated: `first`, rotated to the last position.
        last: key at the last position.
    """

    first: Tensor
    rotated: Tensor
    last: Tensor

    @property
    def difference(self) -> float:
        return _difference(self.rotated, self.last)

    @property
    def fault(self) -> str:
        """What a difference means; completes "because ..."."""
        if _difference(self.first, self.last) <= DEEP_KEY_TOLERANCE:
            return "it has no positions"
        lengths = self.first.double().norm(dim=-1), self.last.double().norm(dim=-1)
        if not torch.allclose(*lengths, rtol=DEEP_KEY_TOLERANCE):
            return "it changes the length of its keys after their rotation"
        return NOT_HALVES


def _repeated_keys(model: LoadedModel) -> list[_RepeatedKeys]:
    """Return the keys of every layer for a text of one repeated token."""
    cache = model.new_cache(REPEATS)
    block = cache.new_block("one token repeated")
    runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP))
    with _refuse_failures(model.name):
        runner.forward([Row((block,), tuple(_random_ids(model, 1)) * REPEATS)])
    ((start, stop),) = block.spans(0, REPEATS)
    distance = torch.tensor([REPEATS - 1], device=model.device)
    found = []
    for layer, layer_keys in enumerate(cache.keys):
        keys = layer_keys[:, start:stop]
        rotation = cache.rotary.rotation(distance, layer, keys.dtype)
        found.append(_RepeatedKeys(keys[:, :1], rotate(keys[:, :1], *rotation), keys[:, -1:]))
    return found


def _in_layers(numbers: Sequence[int], num_layers: int) -> str:
    """Return where some layers are, for a sentence; an empty text for all layers."""
    if len(numbers) == num_layers:
        return ""
    shown = ", ".join(map(str, numbers[:4])) + ", ..." * (len(numbers) > 4)
    return f" in layer{'s' * (len(numbers) > 1)} {shown} of {num_layers}"


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
        difference=_difference(read, plain, typical=has_experts(model.hf_model.config)),
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
        raise refusal(name, "its own code does not run on shared blocks") from error


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
    try:
        hf_model.set_attn_implementation("sdpa")
    except ValueError:  # some classes have no other attention than their plain one
        hf_model.set_attn_implementation("eager")
    try:
        yield
    finally:
        hf_model.set_attn_implementation(ATTENTION_NAME)


def _difference(found: Tensor, right: Tensor, *, typical: bool = False) -> float:
    """Return the root mean square of ``found - right`` over the standard deviation of `right`.

    Both are taken over the last dimension.

    Args:
        found: values to judge.
        right: correct values, of the same shape.
        typical: return the median of the ratios, which single outliers do not change, and not the
            largest: rounding may choose another expert for a token.
    """
    found, right = found.double(), right.double()
    ratios = (found - right).square().mean(-1).sqrt() / right.std(-1)
    return float(ratios.median() if typical else ratios.max())


def _dtype_name(model: LoadedModel) -> str:
    return str(model.dtype).removeprefix("torch.")
