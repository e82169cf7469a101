"""Many sessions in one engine: who is let in, what is shared, and that nobody notices it."""

from dataclasses import replace
from itertools import count, product

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.scheduler.waiting_queue import WaitingQueue
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.model.loader import LoadedModel, prepare_model
from hogwild_dist.session.changes import AddWorker, Interjection
from hogwild_dist.session.events import Event, Interjected, Refused, SessionEnd
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits, Team
from tests.kvcache.integrity import check_integrity
from tests.tiny_engine import tiny_engine, tiny_network
from tests.tiny_team import BREAKS, LONG, RULES
from tests.tiny_tokenizer import byte_tokenizer


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return prepare_model(tiny_network(2_048).double(), name="tiny")


def spec(
    problem: str, layout: str = "combined", tokens: int = 12, seed: int = 0, workers: int = 2
) -> SessionSpec:
    team = Team(
        names=("Ann", "Ben", "Cat")[:workers],
        layout=LAYOUTS[layout],
        prompts=LONG,
        sampling=BREAKS,
        limits=Limits(max_tokens=tokens),
        seed=seed,
    )
    return team.spec(problem, byte_tokenizer())


class Watched:
    """A loop, and what it did."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.inbox = Inbox()
        self.updates: list[Update] = []
        self.loop = ShardLoop(engine, self.inbox, self.updates.extend, observe=self.look)
        self.most_at_once = 0
        self.most_encoded = 0
        self.encoded = 0
        self.steps_while_encoding = 0
        self._sent = 0

    def send(self, command: Command) -> None:
        self._sent += 1
        self.inbox.put(self._sent, command)

    def open(self, *specs: SessionSpec) -> None:
        for number, one in enumerate(specs, start=1):
            self.send(Open(session=number, spec=one, recorded=False))

    def run(self) -> None:
        assert self.loop.run() == self._sent
        check_integrity(self.engine.cache)
        assert self.engine.num_free_pages == self.engine.cache.pages.num_pages

    def look(self, outcome: StepOutcome) -> None:
        self.most_at_once = max(self.most_at_once, len(outcome.sessions))
        encoded, self.encoded = self.encoded, self.engine.num_encoded
        if encoded:  # while the first prompt is encoded, there is nobody to wait
            self.most_encoded = max(self.most_encoded, self.encoded - encoded)
            self.steps_while_encoding += self.encoded > encoded

    def events(self, session: int) -> list[Event]:
        return [event for u in self.updates if u.session == session for event in u.events]

    def ends(self) -> list[str]:
        events = (event for update in self.updates for event in update.events)
        return [event.reason for event in events if isinstance(event, SessionEnd)]


@pytest.mark.parametrize(("visibility", "layout"), list(product(Visibility, LAYOUTS)))
def test_a_session_does_not_notice_who_else_is_there(
    model: LoadedModel, visibility: Visibility, layout: str
) -> None:
    specs = [spec(f"Count to {n}!", layout, tokens=9 + n, seed=n) for n in range(6)]
    together = Watched(
        tiny_engine(
            model,
            visibility=visibility,
            cache_tokens=64 * 90,
            prefill_chunk=50,
            max_step_tokens=30,
        )
    )
    together.open(*specs)
    together.run()
    assert together.most_at_once > 2
    for number, one in enumerate(specs, start=1):
        alone = tiny_engine(model, visibility=visibility, cache_tokens=8_192, max_step_tokens=30)
        session = alone.start(one)
        events = session.opening()
        while not session.end_reason:
            events += alone.step([session]).events
        assert together.events(number) == events


def test_a_common_beginning_is_encoded_once(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model))
    problems = ["Add!", "Count down from ten!", "Why?"]
    watched.open(*(spec(problem) for problem in problems))
    watched.run()
    constant = len("Others: ") + len("Me: ")
    beginning = len("^" + RULES)  # after the begin-of-text token
    rests = sum(len(spec(problem).shared["common"]) - beginning for problem in problems)
    assert watched.engine.num_encoded == beginning + constant + rests
    assert watched.engine.reservations.prefix_cache.num_idle_pages > 0


def test_idle_beginnings_make_way(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, cache_tokens=64 * 40))
    other = Team(
        names=("Ann", "Ben"),
        prompts=replace(LONG, templates={**LONG.templates, "user": "x" * 900 + "{{ problem }}"}),
        limits=Limits(max_tokens=4),
    ).spec("Go!", byte_tokenizer())
    for number in range(1, 5):
        watched.send(
            Open(session=number, spec=other if number % 2 else spec("Go!"), recorded=False)
        )
    watched.run()
    assert watched.ends() == ["all_stopped"] * 4


def test_sessions_wait_for_room_and_none_runs_short(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, cache_tokens=64 * 60))
    watched.open(*(spec(f"Problem {n}", tokens=40, seed=n) for n in range(7)))
    watched.run()
    assert watched.ends() == ["all_stopped"] * 7
    assert 1 < watched.most_at_once < 7


def test_a_session_without_limit_has_the_cache_to_itself(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, cache_tokens=64 * 12))
    endless = replace(
        spec("Go on!"), workers=tuple(replace(w, max_tokens=None) for w in spec("Go on!").workers)
    )
    watched.open(spec("One", tokens=3), endless, spec("Two", tokens=3))
    watched.run()
    assert sorted(watched.ends()) == ["all_stopped", "all_stopped", "cache_limit"]
    assert watched.most_at_once == 1


def test_tenants_take_turns(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, cache_tokens=64 * 25))
    for number, tenant in enumerate("aaabb", start=1):
        one = spec(f"{number}", tokens=3)
        watched.send(Open(session=number, spec=one, recorded=False, tenant=tenant))
    watched.run()
    assert watched.most_at_once == 1
    begun = list(dict.fromkeys(update.session for update in watched.updates))
    assert begun == [1, 4, 2, 5, 3]


def test_running_teams_go_on_while_a_long_prompt_is_encoded(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, prefill_chunk=16))
    long = spec("Sum: " + "1 + " * 60, tokens=2)
    watched.open(spec("Write!", tokens=60), long)
    watched.run()
    assert watched.most_encoded <= 16
    assert watched.steps_while_encoding >= (len(long.shared["common"]) - len(RULES)) // 16 - 1


def test_a_waiting_session_can_be_cancelled_and_spoken_to(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model, cache_tokens=64 * 25))
    said = Interjection(name="You", text="Hi\n\n", target="common", token_ids=(74, 107))
    watched.open(spec("First", tokens=5), spec("Second", tokens=5), spec("Third", tokens=5))
    watched.send(ApplyChange(session=3, change=said))
    watched.send(Cancel(session=2))
    watched.run()
    assert sorted(watched.ends()) == ["all_stopped", "all_stopped", "cancelled"]
    assert [e.reason for e in watched.events(2) if isinstance(e, SessionEnd)] == ["cancelled"]
    assert [e.text for e in watched.events(3) if isinstance(e, Interjected)] == ["Hi\n\n"]


class Cancels(Watched):
    """A loop whose first session is cancelled once its fourth step is known."""

    def look(self, outcome: StepOutcome) -> None:
        super().look(outcome)
        if any(one.session.id == 1 and one.index == 3 for one in outcome.sessions):
            self.send(Cancel(session=1))


@pytest.mark.parametrize(
    ("visibility", "steps"),
    [(Visibility.SAME_STEP, 5), (Visibility.NEXT_STEP, 5), (Visibility.OVERLAPPED, 7)],
)
def test_a_cancelled_session_ends_with_the_step_that_agrees_on_it(
    model: LoadedModel, visibility: Visibility, steps: int
) -> None:
    specs = [spec("First", tokens=30), spec("Second", tokens=30)]
    alone, watched = (
        kind(tiny_engine(model, visibility=visibility)) for kind in (Watched, Cancels)
    )
    alone.open(*specs)
    watched.open(*specs)
    alone.run()
    watched.run()
    ends = [event for event in watched.events(1) if isinstance(event, SessionEnd)]
    assert [(event.step, event.reason) for event in ends] == [(steps, "cancelled")]
    assert max(update.step for update in watched.updates if update.session == 1) == steps - 1
    assert watched.events(2) == alone.events(2)


def test_a_command_that_comes_while_a_step_is_computed_is_in_time(model: LoadedModel) -> None:
    watched = Watched(tiny_engine(model))
    watched.open(spec("First", tokens=30))
    forwards = count()

    def during(*_: object) -> None:
        if watched.loop.sessions and next(forwards) == 3:
            watched.send(Cancel(session=1))

    handle = model.hf_model.register_forward_hook(during)
    try:
        watched.run()
    finally:
        handle.remove()
    assert [event.step for event in watched.events(1) if isinstance(event, SessionEnd)] == [4]


class Hurries(Watched):
    """A loop whose first session is told the same eight times once its fourth step is known."""

    def look(self, outcome: StepOutcome) -> None:
        super().look(outcome)
        if any(one.session.id == 1 and one.index == 3 for one in outcome.sessions):
            for _ in range(8):
                self.send(ApplyChange(session=1, change=HURRY))


HURRY = Interjection(name="You", text="h" * 40, target="common", token_ids=(74,) * 40)


@pytest.mark.parametrize("visibility", Visibility)
def test_many_messages_are_read_over_several_steps(
    model: LoadedModel, visibility: Visibility
) -> None:
    watched = Hurries(tiny_engine(model, prefill_chunk=64, visibility=visibility))
    watched.open(spec("Count!", tokens=30), spec("Wait!", tokens=30))
    watched.run()
    said = [event.step for event in watched.events(1) if isinstance(event, Interjected)]
    assert len(said) == 8
    assert max(map(said.count, said)) == 2  # 40 tokens are less than a chunk, 80 are more
    assert watched.ends() == ["all_stopped"] * 2


def test_messages_to_a_session_that_ends_are_dropped(model: LoadedModel) -> None:
    watched = Hurries(tiny_engine(model, prefill_chunk=8))
    watched.open(spec("Count!", tokens=6), spec("Wait!", tokens=12))
    watched.run()
    assert 0 < len([e for e in watched.events(1) if isinstance(e, Interjected)]) < 8
    assert watched.ends() == ["all_stopped"] * 2


def test_a_session_whose_prompt_is_being_encoded_can_be_taken_out(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    waiting_queue = WaitingQueue(engine.reservations, engine.encode)
    session = engine.prepare(spec("First"))
    waiting_queue.put(session, "")
    assert not list(waiting_queue.admit_ready(8))
    assert engine.num_encoded == 8
    assert waiting_queue.find(session.id) is session
    waiting_queue.remove(session)
    engine.retire(session)
    assert not list(waiting_queue)
    assert engine.cache.pages.num_free == engine.cache.pages.num_pages


def test_prompts_of_sessions_that_enter_together_are_one_forward(model: LoadedModel) -> None:
    engine = tiny_engine(model, cache_tokens=64 * 200)
    waiting_queue = WaitingQueue(engine.reservations, engine.encode)
    forwards: list[int] = []
    handle = model.hf_model.register_forward_hook(lambda *_: forwards.append(1))
    try:
        first, *others = [engine.prepare(spec(f"Problem {n}")) for n in range(5)]
        waiting_queue.put(first, "")
        assert [session for session, _ in waiting_queue.admit_ready(2_000)] == [first]
        assert len(forwards) == 2  # its beginning is also the others', and comes first
        for session in others:
            waiting_queue.put(session, "")
        assert [session for session, _ in waiting_queue.admit_ready(2_000)] == others
        assert len(forwards) == 3
    finally:
        handle.remove()


def test_short_prompts_do_not_wait_for_a_long_one(model: LoadedModel) -> None:
    engine = tiny_engine(model, cache_tokens=64 * 200)
    waiting_queue = WaitingQueue(engine.reservations, engine.encode)
    first, long, *short = [
        engine.prepare(spec(text)) for text in ("First", "1 + " * 200, "Why?", "When?")
    ]
    waiting_queue.put(first, "")
    assert [session for session, _ in waiting_queue.admit_ready(2_000)] == [first]
    for session in (long, *short):
        waiting_queue.put(session, "")
    before, begun = engine.num_encoded, []
    while long not in begun:
        begun += [session for session, _ in waiting_queue.admit_ready(64)]
    assert begun == [*short, long]
    rounds = (engine.num_encoded - before) / 64
    assert rounds <= -(-len(long.spec.shared["common"]) // 64) + 2  # nothing was left idle


def test_one_of_several_that_enter_can_be_taken_out(model: LoadedModel) -> None:
    engine = tiny_engine(model, cache_tokens=64 * 200)
    waiting_queue = WaitingQueue(engine.reservations, engine.encode)
    sessions = [engine.prepare(spec(f"Problem {n}" + "?" * 100)) for n in range(4)]
    waiting_queue.put(sessions[0], "")
    begun = [session for session, _ in waiting_queue.admit_ready(2_000)]
    for session in sessions[1:]:
        waiting_queue.put(session, "")
    begun += [session for session, _ in waiting_queue.admit_ready(150)]
    waiting_queue.remove(sessions[2])  # its prompt is encoded in part
    engine.retire(sessions[2])
    begun += [session for session, _ in waiting_queue.admit_ready(2_000)]
    assert begun == [sessions[0], sessions[1], sessions[3]]
    for session in begun:
        engine.retire(session)
    check_integrity(engine.cache)
    assert engine.num_free_pages == engine.cache.pages.num_pages


class Crowded(Watched):
    """Sends commands as soon as three sessions are at work."""

    later: list[Command]

    def look(self, outcome: StepOutcome) -> None:
        super().look(outcome)
        if self.most_at_once == 3:
            for command in self.later:
                self.send(command)
            self.later = []


@pytest.mark.parametrize("visibility", Visibility)
def test_who_joins_or_speaks_takes_room_that_others_were_not_promised(
    model: LoadedModel, visibility: Visibility
) -> None:
    engine = tiny_engine(model, visibility=visibility, cache_tokens=64 * 52)
    watched = Crowded(engine)
    watched.open(*(spec(f"Problem {n}", tokens=30, seed=n) for n in range(3)))
    worker = replace(
        spec("x", workers=3).workers[2], view=("common", "header", "others", "separator", "own")
    )
    words = Interjection(name="You", text="?", target="common", token_ids=(34,) * 120)
    watched.later = [ApplyChange(session=2, change=AddWorker(worker=worker))]
    watched.later += [ApplyChange(session=1, change=words)] * 9
    watched.run()
    assert not watched.later
    said = [e for e in watched.events(1) if isinstance(e, Interjected)]
    refused = [e.reason for e in watched.events(1) if isinstance(e, Refused)]
    assert said
    assert refused
    assert all("no longer fits" in reason for reason in refused)
    assert [e.reason for e in watched.events(3) if isinstance(e, SessionEnd)] == ["all_stopped"]


class Counted(Watched):
    """Counts pages after every step."""

    def look(self, outcome: StepOutcome) -> None:
        super().look(outcome)
        beginnings = self.engine.reservations.prefix_cache
        held = sum(session.blocks.num_pages() for session in self.loop.sessions.values())
        read = beginnings.num_pages - beginnings.num_idle_pages
        entering = self.engine.cache.pages.num_pages - self.engine.num_free_pages - held - read
        assert entering in {0, 1}  # of one prompt that is encoded just then


@pytest.mark.slow
def test_a_thousand_sessions_leave_nothing(model: LoadedModel) -> None:
    watched = Counted(tiny_engine(model, cache_tokens=64 * 100))
    one = spec("x", tokens=1)
    watched.open(*(replace(one, seed=seed) for seed in range(1_000)))
    watched.run()
    assert watched.ends() == ["all_stopped"] * 1_000
