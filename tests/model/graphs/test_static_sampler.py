"""Sampling from fixed buffers chooses what sampling row by row chooses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hogwild_dist.config import SamplingConfig
from hogwild_dist.model.graphs.captured_pass import Forward, PlainPass
from hogwild_dist.model.graphs.capturer import Capturer
from hogwild_dist.model.graphs.sampler_graphs import SamplerGraphs
from hogwild_dist.model.graphs.static_sampler import StaticSampler
from hogwild_dist.model.sampler import SamplingRow
from tests.model.one_row_sampler import allowed_of_row, token_of_row
from tests.model.test_sampling import VOCAB_SIZE, row, rows, spread_logits

CPU = Capturer(torch.device("cpu"))

WAYS = [
    [SamplingConfig()],
    [SamplingConfig(temperature=1)],
    [SamplingConfig(temperature=1, top_k=3)],
    [SamplingConfig(temperature=1, top_p=0.5), SamplingConfig(temperature=1)],
]
"""Settings of rows for each way to choose."""


def check(found, logits: Tensor, asked: list[SamplingRow]) -> None:
    for at, one in enumerate(asked):
        allowed = allowed_of_row(logits[at], one.config, list(one.seen_ids()))
        assert torch.equal(found.allowed[at], allowed)
        right = None if one.number is None else token_of_row(allowed, one.config, one.number)
        assert found.tokens[at] == right


@given(
    steps=st.lists(st.lists(rows, min_size=1, max_size=5), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_the_same_buffers_serve_one_step_after_the_other(
    steps: list[list[SamplingRow]], seed: int, spread: float, dtype: torch.dtype
) -> None:
    """Whatever rules a row had before leaves no trace in the buffers."""
    graphs = SamplerGraphs(CPU)
    for number, asked in enumerate(steps):
        logits = spread_logits(len(asked), seed + number, spread, dtype)
        untouched = logits.clone()
        found = graphs.sample(logits, asked)
        assert torch.equal(logits, untouched)
        check(found, logits, asked)


def test_a_view_that_grows_and_then_shrinks_is_penalised_as_it_is_now() -> None:
    sampler = StaticSampler(1, torch.zeros(1, 6), CPU.capture)
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.5, 0.1]])
    penalty = SamplingConfig(repetition_penalty=10.0)
    for seen, token in (((), 0), ((0,), 1), ((0, 1), 2), ((1,), 0), ((0, 1, 2, 3), 4)):
        asked = [row(penalty, seen=seen)]
        assert sampler.sample(logits, asked).tokens == [token]


@pytest.mark.parametrize("configs", WAYS, ids=str)
def test_the_passes_before_a_capture_find_dummies_that_they_can_sample(
    configs: list[SamplingConfig],
) -> None:
    """An index that is out of bounds would end a GPU's process."""
    passes: list[Tensor] = []

    def capture(forward: Forward) -> PlainPass:
        passes.append(forward(None))
        return PlainPass(forward, None)

    sampler = StaticSampler(4, torch.zeros(1, VOCAB_SIZE), capture)
    sampler.prepare([row(config, 0.5) for config in configs])
    token, _, usable = passes[0].tolist()
    assert all(0 <= one < VOCAB_SIZE for one in token)
    assert all(usable)


def test_what_is_chosen_stays_when_the_next_step_is_sampled() -> None:
    sampler = StaticSampler(2, torch.zeros(1, 3), CPU.capture)
    first = sampler.sample(torch.tensor([[1.0, 2.0, 3.0]]), [row(SamplingConfig())])
    sampler.sample(torch.tensor([[9.0, 2.0, 3.0]]), [row(SamplingConfig())])
    assert first.allowed.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_concern_their_row_and_are_forgotten(bad: float) -> None:
    sampler = StaticSampler(2, torch.zeros(1, 3), CPU.capture)
    asked = [row(SamplingConfig()), row(SamplingConfig())]
    damaged = torch.tensor([[1.0, 2.0, 3.0], [1.0, bad, 3.0]])
    found = sampler.sample(damaged, asked)
    assert (found.tokens, found.usable) == ([2, None], [True, False])
    assert sampler.sample(torch.tensor([[1.0, 2.0, 3.0]]), asked[:1]).tokens == [2]


def test_what_the_shortlist_cannot_decide_is_left_to_the_whole_vocabulary() -> None:
    flat = torch.linspace(0, 0.1, 9_000, dtype=torch.float64)[None]
    asked = [row(SamplingConfig(temperature=1, top_p=0.9), 0.5)]
    sampler = StaticSampler(1, flat, CPU.capture)
    assert sampler.holds(asked)
    assert sampler.sample(flat, asked) is None
    found = SamplerGraphs(CPU).sample(flat, asked)
    assert found.tokens == [token_of_row(flat[0], asked[0].config, 0.5)]


def test_rows_that_do_not_fit_are_sampled_without_buffers() -> None:
    sampler = StaticSampler(1, torch.zeros(1, VOCAB_SIZE), CPU.capture)
    wide = row(SamplingConfig(temperature=1, top_k=VOCAB_SIZE))
    assert not sampler.holds([row(SamplingConfig())] * 2)
    assert not sampler.holds([wide])
    logits = spread_logits(70, 3, 1.0, torch.float32)
    asked = [wide] + [row(SamplingConfig(temperature=1), 0.1)] * 69
    check(SamplerGraphs(CPU).sample(logits, asked), logits, asked)
