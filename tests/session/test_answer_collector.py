"""How a session comes to its answer, on a tiny float64 model with exact tokens."""

from dataclasses import replace

import pytest

from hogwild_dist.config import SamplingConfig, Visibility
from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import ConfigError
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.changes import Interjection
from hogwild_dist.session.events import Answer, Event, ParagraphEnd, SessionEnd, Text
from hogwild_dist.session.spec import (
    AnswerRule,
    FinisherSpec,
    RedundancyCheck,
    SessionSpec,
    WorkerSpec,
)
from tests.kvcache.integrity import check_integrity
from tests.session.small_team import ids, team
from tests.session.test_session import play, run, stops
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import BREAKS

BOXED = AnswerForm.parse("boxed")


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


def finisher(*view: str, of: int | None = None, max_tokens: int = 6) -> FinisherSpec:
    name = "Finisher" if of is None else f"Finisher {of}"
    own = f"finisher{of or 0}"
    spec = WorkerSpec(
        name=name,
        view=(*view, own),
        first_input=ids("So \\boxed{"),
        max_tokens=max_tokens,
    )
    return FinisherSpec(spec=spec, of=of)


def rule(**fields: object) -> AnswerRule:
    return AnswerRule(**{"form": BOXED, **fields})


FINISHER = finisher("common", "header", "w0", "w1")


def answers(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e.name, e.of, e.answer, e.after, e.budget) for e in events if isinstance(e, Answer)]


def test_an_announced_answer_ends_the_team(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", answer_rule=rule(finishers=(FINISHER,))))
    events = play(session, engine, {0: "it is \\boxed{42}" + "x" * 9, 1: "y" * 30})
    assert answers(events) == [("Ann", None, "42", 16, None)]
    assert stops(events) == {"Ann": "answered", "Ben": "answered"}
    assert session.end_reason == "answered"


def test_who_is_not_asked_announces_nothing(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", answer_rule=rule(by=(1,))))
    events = play(session, engine, {0: "\\boxed{1}" + "x" * 30, 1: "yyyyyyyyy \\boxed{2}"})
    assert answers(events) == [("Ben", None, "2", 19, None)]


def test_without_an_answer_the_finisher_is_asked_in_the_end(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", answer_rule=rule(finishers=(FINISHER,))))
    events = play(session, engine, {0: "x" * 20, 1: "y" * 20, 2: "40}"})
    assert answers(events) == [("Finisher", None, "40", 20, None)]
    assert stops(events) == {"Ann": "max_tokens", "Ben": "max_tokens", "Finisher": "answered"}
    assert session.end_reason == "all_stopped"
    check_integrity(engine.cache)


def test_a_finisher_that_says_nothing_in_the_form(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", answer_rule=rule(finishers=(FINISHER,))))
    events = play(session, engine, {0: "x" * 20, 1: "y" * 20, 2: "z" * 6})
    assert answers(events) == [("Finisher", None, None, 20, None)]


def test_a_vote_stops_each_worker_alone_and_asks_the_rest(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    each = (finisher("common", "w0", of=0), finisher("common", "w1", of=1))
    session = engine.start(team("Ann", "Ben", answer_rule=rule(each=True, finishers=each)))
    events = play(session, engine, {0: "\\boxed{1}", 1: "y" * 20, 2: "", 3: "2}"})
    assert answers(events) == [("Ann", 0, "1", 9, None), ("Finisher 1", 1, "2", 20, None)]


TALK = SamplingConfig(temperature=1.0)


def talk(max_tokens: int = 20, **fields: object) -> SessionSpec:
    spec = team("Ann", "Ben", seed=3, **fields)
    workers = [replace(worker, sampling=TALK, max_tokens=max_tokens) for worker in spec.workers]
    return replace(spec, workers=tuple(workers))


@pytest.mark.parametrize(
    ("written", "answer"),
    [("a dog$", "a dog"), ("a dogfish", "a dogf"), ("$", None), ("x STOP", "x")],
)
def test_a_free_text_is_what_the_finisher_writes_until_it_stops(
    model: LoadedModel, written: str, answer: str | None
) -> None:
    """Nobody else announces it, whatever they write."""
    engine = tiny_engine(model)
    free = rule(form=AnswerForm.parse("text"), finishers=(FINISHER,))
    stop = {"end_ids": frozenset(ids("$")), "stop_strings": ("STOP",)}
    session = engine.start(team("Ann", "Ben", answer_rule=free, **stop))
    texts = {0: "it is \\boxed{42}" + "x" * 9, 1: "y" * 30, 2: written}
    events = play(session, engine, texts)
    assert answers(events) == [("Finisher", None, answer, 20, None)]
    assert session.end_reason == "all_stopped"


def said_by_the_team(events: list[Event]) -> list[tuple[str, tuple[int, ...]]]:
    return [
        (event.name, event.token_ids)
        for event in events
        if isinstance(event, Text) and not event.name.startswith("Finisher")
    ]


def stated(events: list[Event]) -> list[tuple[int, ...]]:
    """Tokens that the finisher chose, each time it was asked."""
    texts: list[tuple[int, ...]] = []
    for event in events:
        if isinstance(event, Text) and event.name == "Finisher":
            texts = [*texts[:-1], texts[-1] + event.token_ids] if event.chosen else [*texts, ()]
    return texts


@pytest.mark.parametrize("visibility", [Visibility.SAME_STEP, Visibility.NEXT_STEP])
def test_budgets_give_what_shorter_runs_give_and_change_nothing(
    model: LoadedModel, visibility: Visibility
) -> None:
    """An independent check: runs that really end at the budgets."""
    engine = tiny_engine(model, visibility=visibility)
    asked = rule(finishers=(FINISHER,), budgets=(5, 12))
    events = run(engine, engine.start(talk(answer_rule=asked)))
    assert said_by_the_team(events) == said_by_the_team(run(engine, engine.start(talk())))
    for asking, budget in zip(stated(events), (5, 12, 20), strict=True):
        alone = rule(finishers=(FINISHER,))
        short = run(engine, engine.start(talk(max_tokens=budget, answer_rule=alone)))
        assert stated(short) == [asking]
    assert [(after, budget) for *_, after, budget in answers(events)] == [
        (5, 5), (12, 12), (20, None)
    ]  # fmt: skip


@pytest.mark.parametrize("budgets", [(), (2,)])
def test_an_answer_at_a_budget_brings_no_redundancy_question(
    model: LoadedModel, budgets: tuple[int, ...]
) -> None:
    """At Ann's first end the team has fed 7 tokens since its start, and the finisher 5."""
    engine = tiny_engine(model)
    check = RedundancyCheck(every=8, question="New? ")
    policy = rule(finishers=(FINISHER,), budgets=budgets)
    session = engine.start(team("Ann", "Ben", redundancy=check, answer_rule=policy))
    texts = {0: "A.\n\n" * 5, 1: "B...\n\n" + "x" * 20, 2: "z" * 12}
    ends = [event for event in play(session, engine, texts) if isinstance(event, ParagraphEnd)]
    assert [(end.name, end.asked) for end in ends[:2]] == [("Ann", False), ("Ben", True)]


def chatty(max_tokens: int, policy: AnswerRule, counted: str) -> SessionSpec:
    """A team that ends many paragraphs and is asked the redundancy question now and then."""
    check = RedundancyCheck(every=25, question="New? ", counted=counted)
    spec = talk(max_tokens, answer_rule=policy, redundancy=check)
    workers = [replace(worker, sampling=BREAKS) for worker in spec.workers]
    return replace(spec, workers=tuple(workers))


def run_and_speak(engine: Engine, spec: SessionSpec, after: int, of_answer: int) -> list[Event]:
    """Somebody speaks once Ann has chosen `after` tokens and the finisher `of_answer`, if asked."""
    change = Interjection(name="You", text="Hurry! ", token_ids=ids("Hurry! "), target="common")
    session = engine.start(spec)
    events = session.opening()
    spoken = False
    while not session.end_reason:
        chosen = [e for e in events if isinstance(e, Text) and e.chosen]
        if not spoken and sum(len(e.token_ids) for e in chosen if e.name == "Ann") == after:
            by_finisher = sum(len(e.token_ids) for e in chosen if e.name == "Finisher")
            spoken = not session.answer_collector.asking or by_finisher == of_answer
            events += engine.apply_change(session, change) if spoken else []
        events += engine.step([session]).events
    session.free()
    assert spoken
    return events


@pytest.mark.parametrize("counted", ["team", "worker"])
@pytest.mark.parametrize(("after", "of_answer"), [(4, 0), (10, 0), (10, 3), (16, 0)])
@pytest.mark.parametrize("visibility", [Visibility.SAME_STEP, Visibility.NEXT_STEP])
def test_speaking_to_a_team_with_budgets_is_as_without_them(
    model: LoadedModel, visibility: Visibility, after: int, of_answer: int, counted: str
) -> None:
    """As above, with runs that really end at the budgets and hear the same at the same step.

    The team hears it before the first budget, while an answer is stated at it, or after it.
    """
    engine = tiny_engine(model, visibility=visibility)
    alone, asked = rule(finishers=(FINISHER,)), rule(finishers=(FINISHER,), budgets=(10, 24))
    spoken = (after, of_answer)
    events = run_and_speak(engine, chatty(40, asked, counted), *spoken)
    whole = run_and_speak(engine, chatty(40, alone, counted), *spoken)
    assert said_by_the_team(events) == said_by_the_team(whole)
    assert any(isinstance(event, ParagraphEnd) and event.asked for event in whole)
    for asking, budget in zip(stated(events), (10, 24, 40), strict=True):
        spec = chatty(budget, alone, counted)
        if budget < after:
            short = run(engine, engine.start(spec))
        else:
            short = run_and_speak(engine, spec, *spoken)
        assert stated(short) == [asking]


def test_overlapped_budgets_ask_and_go_on(model: LoadedModel) -> None:
    engine = tiny_engine(model, visibility=Visibility.OVERLAPPED)
    asked = rule(finishers=(FINISHER,), budgets=(5,))
    session = engine.start(talk(answer_rule=asked))
    events = run(engine, session)
    assert [(after, budget) for *_, after, budget in answers(events)] == [(5, 5), (20, None)]
    assert sum(len(i) for name, i in said_by_the_team(events) if name == "Ann") >= 20
    assert isinstance(events[-1], SessionEnd)
    engine.drain()
    check_integrity(engine.cache)


@pytest.mark.parametrize("limit", ["context", "cache"])
@pytest.mark.parametrize("visibility", list(Visibility))
def test_a_team_out_of_room_leaves_room_for_the_answer(
    model: LoadedModel, limit: str, visibility: Visibility
) -> None:
    sizes = {"context": {"cache_tokens": 4_096}, "cache": {"cache_tokens": 640}}[limit]
    engine = tiny_engine(model, visibility=visibility, **sizes)
    spec = talk(max_tokens=2_000, answer_rule=rule(finishers=(FINISHER,)))
    session = engine.start(spec)
    events = run(engine, session)
    assert session.end_reason == f"{limit}_limit"
    assert len(answers(events)) == 1
    engine.drain()
    session.free()
    assert engine.cache.pages.num_free == engine.cache.pages.num_pages


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"budgets": (5, 5), "finishers": (FINISHER,)}, "ascending numbers"),
        ({"budgets": (0,), "finishers": (FINISHER,)}, "ascending numbers"),
        ({"budgets": (5,)}, "Budgets need a finisher"),
    ],
)
def test_bad_rules_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rule(**fields)


def test_rules_that_do_not_fit_the_team_are_refused() -> None:
    with pytest.raises(ConfigError, match="Worker 2 is named to end the team"):
        team("Ann", "Ben", answer_rule=rule(by=(2,)))
    with pytest.raises(ConfigError, match="called 'Finisher', which is the name of a finisher"):
        team("Ann", "Finisher", answer_rule=rule(finishers=(FINISHER,)))


def test_a_team_can_end_with_one_worker(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", until=(1,), end_ids=frozenset(ids("!"))))
    events = play(session, engine, {0: "x" * 20, 1: "yyyyy!"})
    assert stops(events) == {"Ann": "all_stopped", "Ben": "end_of_text"}
    with pytest.raises(ConfigError, match="Worker 5 is named to end the team"):
        team("Ann", "Ben", until=(5,))
