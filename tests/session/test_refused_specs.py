"""Specifications and texts that are refused, and leave nothing behind."""

from dataclasses import replace

import pytest

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, ContextLimitError
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.session.spec import SessionSpec, WorkerSpec
from tests.session.small_team import ids, team
from tests.tiny_engine import tiny_byte_model, tiny_engine


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


def test_a_problem_longer_than_context_or_cache_is_refused_and_leaves_nothing(
    model: LoadedModel,
) -> None:
    spec = team("Ann", "Ben")
    long = replace(spec, shared={**spec.shared, "common": ids("x" * 600)})
    with pytest.raises(ContextLimitError, match=r"take \d+ tokens and the context of 'tiny' holds"):
        tiny_engine(model).start(long)
    small = tiny_engine(model, cache_tokens=64)
    with pytest.raises(ContextLimitError, match="KV cache"):
        small.start(replace(spec, shared={**spec.shared, "common": ids("x" * 60)}))
    assert small.cache.pages.num_free == 1
    assert not small.cache.blocks


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        ([], "The workers are none"),
        ([("A", ("c", "a")), ("A", ("c", "b"))], "workers with different names"),
        ([("A", ("c", "a")), ("B", ("c", "a"))], "written by more than one worker"),
        ([("A", ("a", "c"))], "written by more than one worker"),
        ([("A", ("c", "zzz", "a"))], "'zzz', which does not exist"),
        ([("A", ("c", "c", "a"))], "must name each block once"),
        ([("A", ())], "must name each block once"),
    ],
)
def test_specs_that_do_not_fit_together_are_refused(
    workers: list[tuple[str, tuple[str, ...]]], sentence: str
) -> None:
    specs = tuple(WorkerSpec(name=n, view=v, first_input=(5,)) for n, v in workers)
    with pytest.raises(ConfigError, match=sentence):
        SessionSpec(workers=specs, shared={"c": (5,)})


def test_a_worker_needs_a_first_token_and_a_shared_target() -> None:
    ann = WorkerSpec(name="A", view=("c", "a"), first_input=(5,))
    with pytest.raises(ConfigError, match="has no first text"):
        SessionSpec(workers=(replace(ann, first_input=()),), shared={"c": (5,)})
    with pytest.raises(ConfigError, match="own block; use a shared one"):
        SessionSpec(workers=(replace(ann, paragraphs_to="a"),), shared={"c": (5,)})


@pytest.mark.parametrize(("name", "count"), [("c", 2), ("c", -1), ("d", 1)])
def test_no_more_than_a_text_can_be_shared_as_its_beginning(name: str, count: int) -> None:
    ann = WorkerSpec(name="A", view=("c", "a"), first_input=(5,))
    with pytest.raises(ConfigError, match=f"shared prefix of '{name}' has {count} tokens"):
        SessionSpec(workers=(ann,), shared={"c": (5,)}, shared_prefixes={name: count})


def test_token_ids_must_be_the_model_s(model: LoadedModel) -> None:
    spec = team("Ann")
    for sampling in (SamplingConfig(forbidden_ids=(9_999,)), SamplingConfig(logit_bias={258: 1.0})):
        worker = replace(spec.workers[0], sampling=sampling)
        with pytest.raises(ConfigError, match=r"outside the vocabulary of 'tiny' \(0 to 257\)"):
            tiny_engine(model).start(replace(spec, workers=(worker,)))


def test_a_worker_may_choose_something(model: LoadedModel) -> None:
    spec, everything = team("Ann"), tuple(range(258))
    forbidding = replace(spec.workers[0], sampling=SamplingConfig(forbidden_ids=everything))
    engine = tiny_engine(model)
    with pytest.raises(ConfigError, match="Ann may choose no token, since all of the vocabulary"):
        engine.start(replace(spec, workers=(forbidding,)))
    one = replace(spec.workers[0], sampling=SamplingConfig(forbidden_ids=everything[1:]))
    assert engine.start(replace(spec, workers=(one,)))
