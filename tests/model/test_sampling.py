"""Sampling of many rows at once, beside the law for one row and transformers' processors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.model.choice import Filters, likeliest
from hogwild_dist.model.sampler import SamplingRow, allowed_logits, sample
from hogwild_dist.model.sampling import uniform
from tests.model.one_row_sampler import allowed_of_row, kept_of_row, token_of_row

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0])
VOCAB_SIZE = 1_000


def row(config: SamplingConfig, number: float | None = 0.5, seen: tuple[int, ...] = ()):
    return SamplingRow(config, lambda: seen, number)


def tokens(logits: Tensor, rows: list[SamplingRow]) -> list[int | None]:
    return sample(logits, rows).tokens


def counts(config: SamplingConfig, draws: int = 4_000) -> list[float]:
    """Share of each token over many draws."""
    rows = [row(config, uniform(7, 0, index)) for index in range(draws)]
    drawn = tokens(LOGITS.expand(draws, -1), rows)
    return [drawn.count(token) / draws for token in range(len(LOGITS))]


def test_draws_follow_the_softmax() -> None:
    for temperature in (0.5, 1.0, 2.0):
        shares = counts(SamplingConfig(temperature=temperature))
        expected = (LOGITS / temperature).softmax(-1).tolist()
        assert shares == pytest.approx(expected, abs=0.03)


def test_filters_drop_what_they_should() -> None:
    assert [s > 0 for s in counts(SamplingConfig(temperature=1, top_k=2))] == [1, 1, 0, 0, 0]
    assert [s > 0 for s in counts(SamplingConfig(temperature=1, top_p=0.8))] == [1, 1, 0, 0, 0]
    assert [s > 0 for s in counts(SamplingConfig(temperature=1, min_p=0.2))] == [1, 1, 0, 0, 0]
    assert counts(SamplingConfig(temperature=1, forbidden_ids=(0,)))[0] == 0


configs = st.builds(
    SamplingConfig,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 7, 300, 2_000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.01, 0.5]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    forbidden_ids=st.sampled_from([(), (0, 5), tuple(range(995))]),
    logit_bias=st.sampled_from([{}, {1: 4.0, 999: -7.0}]),
)
rows = st.builds(
    row,
    config=configs,
    number=st.one_of(st.none(), st.floats(0, 1, exclude_max=True)),
    seen=st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=20).map(tuple),
)


def spread_logits(num_rows: int, seed: int, spread: float, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(num_rows, VOCAB_SIZE, generator=generator) * spread).to(dtype)


@given(
    asked=st.lists(rows, min_size=1, max_size=6),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.1, 1.0, 5.0, 30.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_each_row_of_many_is_sampled_as_if_alone(
    asked: list[SamplingRow], seed: int, spread: float, dtype: torch.dtype
) -> None:
    logits = spread_logits(len(asked), seed, spread, dtype)
    untouched = logits.clone()
    found = sample(logits, asked)
    assert torch.equal(logits, untouched)
    for at, one in enumerate(asked):
        allowed = allowed_of_row(logits[at], one.config, list(one.seen_ids()))
        assert torch.equal(found.allowed[at], allowed)
        if one.number is None:
            assert found.tokens[at] is None
        else:
            assert found.tokens[at] == token_of_row(allowed, one.config, one.number)


@given(
    chosen=st.lists(configs, min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
    size=st.sampled_from([1, 256, VOCAB_SIZE]),
)
def test_the_filters_keep_what_transformers_keeps(
    chosen: list[SamplingConfig], seed: int, spread: float, size: int
) -> None:
    scores = spread_logits(len(chosen), seed, spread, torch.float64)
    scores[0, torch.randperm(VOCAB_SIZE)[:990]] = -torch.inf
    tried = min(max(size, *(config.top_k + 1 for config in chosen)), VOCAB_SIZE)
    ids, keep, enough = likeliest(scores, Filters.of(chosen, VOCAB_SIZE, scores.device), tried)
    for at, config in enumerate(chosen):
        expected = kept_of_row(scores[at], config)
        kept = ids[at, keep[at]].tolist()
        assert not enough[at] or sorted(kept) == expected
        assert scores[at, kept].tolist() == sorted(scores[at, kept].tolist(), reverse=True)
        assert enough[at] or len(expected) >= ids.shape[-1] - 1


def test_more_tokens_are_tried_where_the_first_do_not_suffice() -> None:
    logits = torch.linspace(0, 0.1, 9_000, dtype=torch.float64).repeat(3, 1)
    logits[1, 7] = 50.0
    asked = [row(SamplingConfig(temperature=1, top_p=top_p), 0.5) for top_p in (0.9, 0.5, 1.0)]
    right = [token_of_row(logits[at], one.config, 0.5) for at, one in enumerate(asked)]
    assert tokens(logits, asked) == right
    assert right[1] == 7


@pytest.mark.parametrize("top_k", [2, 5])
def test_equal_scores_are_kept_together(top_k: int) -> None:
    """Whichever of them a device's sort puts first."""
    logits = torch.tensor([3.0] + [1.0] * 400 + [0.0] * 600).repeat(2, 1)
    asked = [row(SamplingConfig(temperature=1, top_k=top_k), number) for number in (0.0, 0.999)]
    assert tokens(logits, asked) == [0, 400]


def test_greedy_takes_the_largest_allowed() -> None:
    chosen = [
        SamplingConfig(),
        SamplingConfig(forbidden_ids=(0, 1)),
        SamplingConfig(logit_bias={3: 9.0}),
        SamplingConfig(logit_bias={0: -100.0}),
    ]
    logits = LOGITS.expand(4, -1)
    assert tokens(logits, [row(config, 0.99) for config in chosen]) == [0, 2, 3, 1]


def test_repetition_penalty_is_over_what_the_worker_sees() -> None:
    penalty = SamplingConfig(repetition_penalty=4.0)
    logits = LOGITS.expand(3, -1)
    asked = [row(penalty, seen=(0,)), row(penalty, seen=(1,)), row(SamplingConfig())]
    assert tokens(logits, asked) == [1, 0, 0]


def test_a_step_without_rules_copies_no_logits() -> None:
    logits = LOGITS[None]
    assert allowed_logits(logits, [row(SamplingConfig(temperature=1))]) is logits


def test_random_numbers_do_not_change_between_versions() -> None:
    assert [uniform(0, 0, 0), uniform(0, 0, 1), uniform(0, 1, 0), uniform(1, 0, 0)] == [
        0.08234954794796834, 0.882269228115468, 0.32464274151405526, 0.9910251519435451,
    ]  # fmt: skip


@given(st.integers(0, 2**63), st.integers(0, 15), st.integers(0, 2**40))
def test_random_numbers_are_in_range(seed: int, worker: int, index: int) -> None:
    assert 0 <= uniform(seed, worker, index) < 1


HUGE = 10**400
"""A number that no float can be."""


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("temperature", [-1.0, math.inf, math.nan, 1e-300, HUGE]),
        ("top_p", [0.0, 1.5, math.inf, math.nan, HUGE]),
        ("top_k", [-1, 1.5, math.inf, math.nan, 2**31 + 1, HUGE]),
        ("min_p", [2.0, math.inf, math.nan, HUGE]),
        ("repetition_penalty", [0.0, math.inf, math.nan, 1e-300, HUGE]),
    ],
)
def test_bad_values_are_named(field: str, values: list[float]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"{field} is {value}; it must be"):
            SamplingConfig(**{field: value})


@pytest.mark.parametrize("bias", [-math.inf, math.inf, math.nan, 1e7, HUGE])
def test_a_bias_that_is_no_number_is_named(bias: float) -> None:
    with pytest.raises(ConfigError, match=f"logit_bias of token 3 is {bias}; it must be from"):
        SamplingConfig(logit_bias={3: bias})


@pytest.mark.parametrize("token", [-1, 1.5])
def test_what_is_no_token_is_named(token: float) -> None:
    with pytest.raises(ConfigError, match=f"Token id {token} is no id of a token"):
        SamplingConfig(forbidden_ids=(token,))
    with pytest.raises(ConfigError, match=f"Token id {token} is no id of a token"):
        SamplingConfig(logit_bias={token: 1.0})


NUMBERS = st.one_of(
    st.floats(0, 2), st.floats(), st.sampled_from([1e-10, 1e10, 1e-3, 1e3]), st.integers()
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": NUMBERS,
            "top_p": NUMBERS,
            "top_k": st.one_of(st.integers(), st.sampled_from([0, 1, 2**31])),
            "min_p": NUMBERS,
            "repetition_penalty": NUMBERS,
            "logit_bias": st.dictionaries(st.integers(0, 9), NUMBERS, max_size=3),
        },
    ),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=10, max_size=10),
    st.floats(0, 1, exclude_max=True),
)
def test_settings_are_refused_or_leave_all_scores_finite(
    fields: dict[str, object], logits: list[float], number: float
) -> None:
    try:
        config = SamplingConfig(**fields)
    except ConfigError:
        return
    asked = [row(config, number, seen=(0, 5))]
    chosen = sample(torch.tensor([logits]), asked)
    scores = chosen.allowed / (config.temperature or 1.0)
    assert scores.isfinite().all()
    assert chosen.tokens[0] in range(len(logits))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_concern_their_row_alone(wrong: float) -> None:
    filtered = SamplingConfig(temperature=1, top_p=0.5)
    asked = [
        row(SamplingConfig()),
        row(filtered),
        row(SamplingConfig(temperature=1)),
        row(filtered),
    ]
    fine = torch.tensor([[0.0, -torch.inf], [1.0, 2.0], [9.0, -9.0], [1.0, 2.0]])
    found = sample(fine, asked)
    assert (found.tokens, found.usable) == ([0, 1, 0, 1], [True] * 4)
    for at in range(4):
        damaged = fine.clone()
        damaged[at, 0] = wrong
        found = sample(damaged, asked)
        assert found.tokens == [None if one == at else [0, 1, 0, 1][one] for one in range(4)]
        assert found.usable == [one != at for one in range(4)]
