import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, ModelError
from hogwild_dist.model.sampling import Sampler, check_logits, likeliest, uniform

CPU = torch.device("cpu")
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0])


def counts(config: SamplingConfig, draws: int = 4_000) -> list[float]:
    """Share of each token over many draws."""
    sampler = Sampler(config, CPU)
    allowed = sampler.allowed(LOGITS, lambda: [])
    tokens = [sampler.choose(allowed, uniform(7, 0, i)) for i in range(draws)]
    return [tokens.count(token) / draws for token in range(len(LOGITS))]


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


@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.1, 1.0, 5.0, 30.0]),
    top_k=st.sampled_from([0, 1, 7, 300, 2_000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.01, 0.5]),
    num_forbidden=st.sampled_from([0, 3, 995]),
)
def test_the_filters_keep_what_transformers_keeps(
    seed: int, spread: float, top_k: int, top_p: float, min_p: float, num_forbidden: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(1_000, generator=generator, dtype=torch.float64) * spread
    scores[torch.randperm(1_000, generator=generator)[:num_forbidden]] = -torch.inf
    expected = scores[None]
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    if min_p:
        expected = MinPLogitsWarper(min_p)(None, expected)
    config = SamplingConfig(temperature=1, top_k=top_k, top_p=top_p, min_p=min_p)
    kept = likeliest(scores, config)
    assert sorted(kept.tolist()) == (expected[0] > -torch.inf).nonzero().flatten().tolist()
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)


def test_greedy_takes_the_largest_allowed() -> None:
    for config, best in (
        (SamplingConfig(), 0),
        (SamplingConfig(forbidden_ids=(0, 1)), 2),
        (SamplingConfig(logit_bias={3: 9.0}), 3),
        (SamplingConfig(logit_bias={0: -100.0}), 1),
    ):
        sampler = Sampler(config, CPU)
        assert sampler.choose(sampler.allowed(LOGITS, lambda: []), 0.99) == best


def test_repetition_penalty_is_over_what_the_worker_sees() -> None:
    sampler = Sampler(SamplingConfig(repetition_penalty=4.0), CPU)
    assert sampler.choose(sampler.allowed(LOGITS, lambda: [0]), 0) == 1
    assert sampler.choose(sampler.allowed(LOGITS, lambda: [1]), 0) == 0


def test_the_raw_logits_stay_as_they_are() -> None:
    logits = LOGITS.clone()
    config = SamplingConfig(forbidden_ids=(0,), logit_bias={1: 5.0}, repetition_penalty=2.0)
    Sampler(config, CPU).allowed(logits, lambda: [2])
    assert torch.equal(logits, LOGITS)


def test_random_numbers_do_not_change_between_versions() -> None:
    assert [uniform(0, 0, 0), uniform(0, 0, 1), uniform(0, 1, 0), uniform(1, 0, 0)] == [
        0.08234954794796834, 0.882269228115468, 0.32464274151405526, 0.9910251519435451,
    ]  # fmt: skip


@given(st.integers(0, 2**63), st.integers(0, 15), st.integers(0, 2**40))
def test_random_numbers_are_in_range(seed: int, worker: int, index: int) -> None:
    assert 0 <= uniform(seed, worker, index) < 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1.0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
    ],
)
def test_bad_values_are_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}; it must be"):
        SamplingConfig(**{field: value})


def test_scores_that_are_no_numbers_name_the_model() -> None:
    check_logits(torch.tensor([[0.0, -torch.inf], [1.0, 2.0]]), "tiny")
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ModelError, match="Model 'tiny' computes scores that are not numbers"):
            check_logits(torch.tensor([[0.0, 1.0], [wrong, 2.0]]), "tiny")
