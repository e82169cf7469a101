"""People speak to a running team; workers join and leave it."""

from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.run.run import Run
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import replay_fed, replay_free
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.changes import (
    AddWorker,
    Interjection,
    RemoveWorker,
    change_from_json,
    change_to_json,
)
from hogwild_dist.session.events import (
    Answer,
    Event,
    Interjected,
    Joined,
    ParagraphEnd,
    Refused,
    Text,
    WorkerStop,
)
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import LAYOUTS, Layout, Rule
from hogwild_dist.team.team import Limits, Team
from hogwild_dist.team.worker_profile import WorkerProfile
from tests.replaying import engine_config
from tests.session.small_team import ids
from tests.session.small_team import team as combined
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import BREAKS, CRITIC, PROMPTS


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


def new_team(layout: Layout = LAYOUTS["combined"], **fields: object) -> Team:
    limits = Limits(max_tokens=40)
    return Team(
        names=("Ann", "Ben", "Cat"), layout=layout, prompts=PROMPTS, sampling=BREAKS,
        limits=limits, seed=5, **fields,
    )  # fmt: skip


def watch(run: Run, at: dict[int, list]) -> list[Event]:
    """All events; `at` says what to do after the step of a number: (method, arguments)."""
    events = []
    for event in run:
        events.append(event)
        for method, *arguments in at.pop(event.step, ()):
            getattr(run, method)(*arguments)
    return events


CHANGES = {
    5: [("interject", "Think of primes.")],
    12: [("join", "Dan", WorkerProfile(role="helps", brief="Be short."))],
    20: [("leave", "Ben"), ("interject", "Go on.", "Eve")],
}


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), CRITIC], ids=lambda layout: layout.name)
@pytest.mark.parametrize("visibility", Visibility)
def test_changes_happen_and_replay(
    model: LoadedModel, tmp_path: Path, layout: Layout, visibility: Visibility
) -> None:
    engine = tiny_engine(model, visibility=visibility)
    path = tmp_path / "run.json"
    events = watch(Run(engine, "Count!", new_team(layout), path), dict(CHANGES))
    said = [event for event in events if isinstance(event, Interjected)]
    assert [event.name for event in said] == ["You", "Dan", "Eve"]
    assert said[1].text == "\n**Dan** joins the team: helps\n\n"
    assert [event.name for event in events if isinstance(event, Joined)] == ["Dan"]
    stops = {event.name: event.reason for event in events if isinstance(event, WorkerStop)}
    # Where noise ends no paragraph in time, Ben is done before he may leave.
    assert stops.pop("Ben") in ("left", "max_tokens", "end_of_text", "context_limit")
    assert set(stops.values()) <= {"max_tokens", "end_of_text", "context_limit"}
    assert engine.cache.pages.num_free == engine.cache.pages.num_pages
    assert replayed(model, path) == {0, 1, 2, 3}


def replayed(model: LoadedModel, path: Path) -> set[int]:
    """The workers of a trace, which replays fed and free."""
    trace = read_trace(path)
    visibility = engine_config(trace, 4_096).visibility
    fed = list(replay_fed(trace, tiny_engine(model, visibility=visibility)))
    assert all(row.agrees(1e-5) and row.argmax == row.expected for row in fed)
    again = tiny_engine(model, visibility=visibility)
    assert list(replay_free(trace, again)) == [[]] * len(trace.steps)
    return {row.worker for row in fed}


ASKED = AnswerPolicy(form=AnswerForm.parse("boxed"), finisher_tokens=8, budgets=(5, 12, 30))


@pytest.mark.parametrize(
    "at",
    [
        {0: [("interject", "At once.")], 2: [("interject", "Early.")]},
        {8: [("interject", "While an answer is stated.")]},
        {24: [("join", "Dan")]},
        {30: [("leave", "Ben")]},
    ],
    ids=str,
)
@pytest.mark.parametrize("visibility", Visibility)
def test_changes_to_a_team_with_budgets_replay(
    model: LoadedModel, tmp_path: Path, visibility: Visibility, at: dict[int, list]
) -> None:
    """Also where the text outgrows the model, so that the answer is asked for early."""
    path = tmp_path / "run.json"
    engine = tiny_engine(model, visibility=visibility)
    events = watch(Run(engine, "Count!", new_team(answer_policy=ASKED), path), dict(at))
    assert [e.budget for e in events if isinstance(e, Answer)] == [5, 12, 30, None]
    assert not [event for event in events if isinstance(event, Refused)]
    assert {0, 1, 2, 3} <= replayed(model, path)


def test_the_role_of_a_newcomer_is_read_by_all(model: LoadedModel) -> None:
    run = Run(tiny_engine(model), "Count!", new_team())
    member = WorkerProfile(role="checks the sums")
    events = watch(run, {3: [("join", "Dan", member)], 5: [("join", "Eve")]})
    kinds = [type(event) for event in events if isinstance(event, Interjected | Joined)]
    assert kinds == [Interjected, Joined, Joined]
    assert "\n**Dan** joins the team: checks the sums\n\n" in run.result.history
    assert "checks the sums" not in run.result.texts["Dan"]


def test_without_a_shared_block_a_newcomer_s_role_begins_its_text(model: LoadedModel) -> None:
    alone = Layout(name="alone", everyone=Rule(view=("others", "own")))
    run = Run(tiny_engine(model), "Count!", new_team(alone))
    watch(run, {3: [("join", "Dan", WorkerProfile(role="checks the sums"))]})
    assert "**Dan** joins the team: checks the sums" in run.result.texts["Dan"]


def test_a_newcomer_whose_role_no_longer_fits_is_refused(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = combined("Ann", "Ben")
    session = engine.start(spec)
    before = (session.fingerprint(), engine.cache.pages.num_free)
    long = Interjection(name="Cat", text="x", token_ids=(1,) * 600, target="common")
    worker = replace(spec.workers[0], name="Cat", view=("common", "own"))
    (event,) = engine.apply_change(session, AddWorker(worker=worker, announcement=long))
    assert isinstance(event, Refused)
    assert (session.fingerprint(), engine.cache.pages.num_free) == before


def test_who_leaves_finishes_a_paragraph(model: LoadedModel) -> None:
    team = replace(new_team(), limits=Limits(max_tokens=200))
    events = watch(Run(tiny_engine(model), "Count!", team), {3: [("leave", "Ben")]})
    ends = [e for e in events if isinstance(e, ParagraphEnd) and e.name == "Ben"]
    (stop,) = [e for e in events if isinstance(e, WorkerStop) and e.name == "Ben"]
    assert stop.reason == "left"
    assert (ends[-1].step, ends[-1].next_input) == (stop.step, None)
    assert all(end.step <= 4 for end in ends[:-1])


def test_where_text_has_no_paragraphs_a_worker_leaves_at_once(model: LoadedModel) -> None:
    team = new_team(LAYOUTS["contiguous"])
    events = watch(Run(tiny_engine(model), "Count!", team), {3: [("leave", "Ben")]})
    (stop,) = [e for e in events if isinstance(e, WorkerStop) and e.name == "Ben"]
    assert stop.step <= 6


def test_an_interjection_is_what_the_model_reads(model: LoadedModel) -> None:
    """The logits after it are those of a session that had the text in its prompt.

    One layer's keys do not depend on what stands before, two layers' do; the interjection sees
    the prompt, so that the same tokens appended to the prompt are the same block.
    """
    said = ids("Think! ")
    change = Interjection(name="You", text="Think! ", token_ids=said, target="common")
    spec = combined("Ann", "Ben")
    late, early = tiny_engine(model), tiny_engine(model)
    session = late.start(spec)
    events = late.apply_change(session, change)
    assert [type(event) for event in events] == [Interjected]
    prompt = {**spec.shared, "common": (*spec.shared["common"], *said)}
    other = early.start(replace(spec, shared=prompt))
    for _ in range(10):
        first, second = late.step([session]), early.step([other])
        assert [r.token_id for r in first.rows] == [r.token_id for r in second.rows]
        for a, b in zip(first.rows, second.rows, strict=True):
            assert float((a.logits - b.logits).abs().max()) < 1e-5
    assert session.history.text == "Think! "


def test_a_newcomer_reads_and_is_read(model: LoadedModel) -> None:
    """From its first step on, a newcomer is as one who was there from the beginning."""
    spec = combined("Ann", "Ben", "Cat")
    last = spec.workers[2]
    two = combined("Ann", "Ben")
    two = replace(
        two,
        workers=tuple(replace(worker, newcomers_at=3) for worker in two.workers),
    )
    late, early = tiny_engine(model), tiny_engine(model)
    session, other = late.start(two), early.start(spec)
    newcomer = replace(last, view=("common", "header", "others", "separator", "own"))
    events = late.apply_change(session, AddWorker(worker=newcomer))
    assert [type(event) for event in events] == [Joined, Text]
    assert session.workers[2].spec.view == last.view
    for _ in range(10):
        first, second = late.step([session]), early.step([other])
        assert [r.token_id for r in first.rows] == [r.token_id for r in second.rows]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (RemoveWorker(name="Zoe"), "'Zoe' is not an active worker; use one of Ann, Ben"),
        (Interjection(name="You", text="x", token_ids=(1,), target="w0"), "no shared block 'w0'"),
        (
            Interjection(name="You", text="x", token_ids=(1,) * 600, target="common"),
            "no longer fits",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    model: LoadedModel, change: object, sentence: str
) -> None:
    engine = tiny_engine(model)
    session = engine.start(combined("Ann", "Ben"))
    before = (session.fingerprint(), engine.cache.pages.num_free)
    (event,) = engine.apply_change(session, change)
    assert isinstance(event, Refused)
    assert sentence in event.reason
    assert event.change == change.kind
    assert (session.fingerprint(), engine.cache.pages.num_free) == before


def test_a_session_without_shared_blocks_takes_no_message(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = combined("Ann")
    alone = replace(spec.workers[0], view=("w0",), paragraphs_to=None)
    session = engine.start(replace(spec, shared={}, workers=(alone,)))
    message = Interjection(name="You", text="x", token_ids=(1,), target="common")
    (event,) = engine.apply_change(session, message)
    assert isinstance(event, Refused)
    assert event.reason.endswith("send the message to another session, since this one has none.")


def test_newcomers_need_a_name_and_known_blocks(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = combined("Ann", "Ben")
    session = engine.start(spec)
    for view, name, sentence in (
        (("common", "own"), "Ben", "'Ben' is already in the team"),
        (("zoo", "own"), "Cat", "would see the block 'zoo'"),
        (("worker:Zoe", "own"), "Cat", "is not in the team"),
        (("worker:Ben", "others", "own"), "Cat", "would see a block twice (w1, w0, w1, w2)"),
    ):
        worker = replace(spec.workers[0], name=name, view=view)
        (event,) = engine.apply_change(session, AddWorker(worker=worker))
        assert isinstance(event, Refused)
        assert sentence in event.reason


def test_what_a_client_may_not_say(model: LoadedModel) -> None:
    run = Run(tiny_engine(model), "Count!", new_team())
    with pytest.raises(ConfigError, match="message is empty"):
        run.interject(" ")
    with pytest.raises(ConfigError, match="A worker is called"):
        run.join("{x}")
    run.close()
    apart = Layout(
        name="apart",
        everyone=Rule(view=("common", "own")),
        workers={"Cat": Rule(view=("notes", "own"), paragraphs_to="notes")},
    )
    run = Run(tiny_engine(model), "Count!", new_team(apart))
    with pytest.raises(ConfigError, match="no shared block that all workers see"):
        run.interject("Hello")
    run.close()


def test_changes_survive_a_trace() -> None:
    worker = combined("Ann").workers[0]
    for change in (
        RemoveWorker(name="x"),
        AddWorker(worker=replace(worker, sampling=BREAKS)),
        Interjection(name="You", text="x", token_ids=(1,), target="common"),
    ):
        assert change_from_json(change_to_json(change)) == change
    with pytest.raises(ValueError, match="kind"):
        change_from_json({"kind": "zoo"})


def test_a_trace_with_a_malformed_change_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    watch(Run(tiny_engine(model), "Count!", new_team(), path), {3: [("leave", "Ben")]})
    text = path.read_text()
    assert '"kind": "leave"' in text
    path.write_text(text.replace('"kind": "leave"', '"kind": "zoo"'))
    with pytest.raises(Exception, match="has a malformed change"):
        read_trace(path)
