"""The rules of a session on a tiny float64 model, where every token is exact."""

from dataclasses import replace

import pytest
import torch

from hogwild_dist.config import SamplingConfig, Visibility
from hogwild_dist.engine.engine import Engine
from hogwild_dist.kvcache.rows import allocate_slots
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.session.events import Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from hogwild_dist.session.session import Feed, Session
from hogwild_dist.session.spec import RedundancyCheck, SessionSpec
from tests.kvcache.integrity import check_integrity
from tests.session.small_team import TOKENIZER, ids, team
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_tokenizer import EOS


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_byte_model()


def forward(engine: Engine, feeds: list[Feed]) -> None:
    rows = [feed.row for feed in feeds]
    engine.runner.compute(rows, allocate_slots(engine.cache, rows))


def play(session: Session, engine: Engine, texts: dict[int, str]) -> list[Event]:
    """Run to the end with the workers' choices replaced by the letters of `texts`."""
    events = session.opening()
    written = dict.fromkeys(texts, 0)
    while not session.end_reason:
        feeds = session.feeds(engine.config.max_step_tokens)
        if not feeds:
            break
        forward(engine, feeds)
        chosen = {}
        for feed in feeds:
            worker = feed.worker.index
            if feed.complete:
                chosen[worker] = ids(texts[worker])[written[worker]]
                written[worker] += 1
        events += session.apply(feeds, chosen)
    return events


def run(engine: Engine, session: Session) -> list[Event]:
    events = session.opening()
    while not session.end_reason:
        events += engine.step([session]).events
    return events


def stops(events: list[Event]) -> dict[str, str]:
    return {event.name: event.reason for event in events if isinstance(event, WorkerStop)}


def test_a_paragraph_moves_to_the_history_and_the_break_leads_the_next(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben"))
    common = len(session.blocks["common"].token_ids)
    events = play(session, engine, {0: "One.\n\nTwo is not enough", 1: "no end here at all!!"})
    (end,) = [event for event in events if isinstance(event, ParagraphEnd)]
    assert end.text == "Ann [1]: One.\n\n"
    assert end.moved == len("Ann [1]: One.\n")
    assert end.next_input == (*ids("\n"), *ids("Ann [2]: "))
    assert (end.from_block, end.to_block, end.asked) == ("w0", "common", False)
    moved = session.blocks["common"].token_ids[common:]
    assert TOKENIZER.decode(moved) == "Ann [1]: One.\n"
    assert TOKENIZER.decode(session.blocks["w0"].token_ids) == "\nAnn [2]: Two is not eno"[:-1]
    assert session.history.text == "Ann [1]: One.\n\n"
    assert session.workers[0].text == "Ann [1]: One.\n\nAnn [2]: Two is not eno"
    assert stops(events) == {"Ann": "max_tokens", "Ben": "max_tokens"}
    assert isinstance(events[-1], SessionEnd)
    check_integrity(engine.cache)


def test_the_team_shares_the_redundancy_counter(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = team("Ann", "Ben", redundancy=RedundancyCheck(every=8, question="New? "))
    session = engine.start(spec)
    events = play(session, engine, {0: "A.\n\n" * 5, 1: "B...\n\n" + "x" * 20})
    ends = [event for event in events if isinstance(event, ParagraphEnd)]
    # Ann's first end comes at 4 tokens of each: the counter stands at 7 and is not over 8.
    assert [(end.name, end.asked) for end in ends[:2]] == [("Ann", False), ("Ben", True)]
    assert ends[1].next_input == (*ids("\n"), *ids("Ben [2]: New? "))


def test_each_worker_can_have_a_redundancy_counter_of_its_own(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    asked = {}
    for counted in ("worker", "team"):
        check = RedundancyCheck(every=20, question="New? ", counted=counted)
        session = engine.start(team("Ann", "Ben", redundancy=check))
        events = play(session, engine, {0: "A.\n\n" * 5, 1: "B" * 9 + ".\n\n" + "x" * 20})
        ends = [event for event in events if isinstance(event, ParagraphEnd)]
        asked[counted] = [end.asked for end in ends if end.name == "Ann"][:4]
        session.free()
    # A paragraph of Ann's is 3 tokens and the 10 that begin the next one, or 15 with a question.
    assert asked == {
        "worker": [False, False, True, False],
        "team": [False, True, True, True],
    }


def test_end_of_text_and_stop_strings_stop_one_worker_only(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = team("Ann", "Ben", "Cat", stop_strings=("STOP", "halt"), end_ids=frozenset({EOS}))
    session = engine.start(spec)
    text = "ab STOP more text after that"
    events = session.opening()
    for step in range(20):
        feeds = session.feeds(2_048)
        if not feeds:
            break
        forward(engine, feeds)
        choice = {0: ids(text)[step], 1: EOS if step == 3 else ids("b")[0], 2: ids("c")[0]}
        events += session.apply(feeds, {f.worker.index: choice[f.worker.index] for f in feeds})
    assert stops(events) == {"Ben": "end_of_text", "Ann": "stop_string", "Cat": "max_tokens"}
    assert [worker.text for worker in session.workers] == [
        "Ann [1]: ab ", "Ben [1]: bbb", "Cat [1]: " + 20 * "c",
    ]  # fmt: skip
    assert [worker.num_chosen for worker in session.workers] == [7, 4, 20]


def test_total_budget_ends_the_session(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben", max_total_tokens=7))
    events = run(engine, session)
    assert events[-1] == SessionEnd(step=4, reason="max_total_tokens")
    assert stops(events) == {"Ann": "max_total_tokens", "Ben": "max_total_tokens"}


def test_the_model_s_context_ends_the_session_and_keeps_the_text(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    spec = team("Ann", "Ben")
    spec = replace(spec, workers=tuple(replace(w, max_tokens=None) for w in spec.workers))
    session = engine.start(spec)
    events = run(engine, session)
    assert session.end_reason == "context_limit"
    longest = max(
        sum(block.length for block in session.blocks.view(worker.spec.view))
        for worker in session.workers
    )
    assert 505 <= longest <= 512
    written = "".join(e.text for e in events if isinstance(e, Text) and e.worker == 0)
    assert session.workers[0].text.startswith(written)
    assert len(session.workers[0].token_ids) > 200


def test_a_full_cache_ends_the_session_and_keeps_the_text(model: LoadedModel) -> None:
    engine = tiny_engine(model, cache_tokens=6 * 64)
    spec = team("Ann", "Ben")
    spec = replace(spec, workers=tuple(replace(w, max_tokens=None) for w in spec.workers))
    session = engine.start(spec)
    run(engine, session)
    assert session.end_reason == "cache_limit"
    assert session.workers[0].num_chosen > 50
    session.free()
    assert engine.cache.pages.num_free == 6
    check_integrity(engine.cache)


def test_long_first_texts_span_steps_and_nobody_waits(model: LoadedModel) -> None:
    engine = tiny_engine(model, max_step_tokens=16)
    spec = team("Ann", "Ben")
    ann = replace(spec.workers[0], first_input=ids("y" * 40))
    session = engine.start(replace(spec, workers=(ann, spec.workers[1])))
    session.opening()
    fed = []
    for _ in range(4):
        outcome = engine.step([session])
        fed.append([(row.worker, len(row.input_ids), row.token_id is None) for row in outcome.rows])
    assert fed == [
        [(0, 8, True), (1, 8, True)],
        [(0, 15, True), (1, 1, False)],
        [(0, 15, True), (1, 1, False)],
        [(0, 2, False), (1, 1, False)],
    ]


def test_a_token_depends_on_seed_worker_and_index_only(model: LoadedModel) -> None:
    """The same session alone and beside others writes the same text."""
    hot = SamplingConfig(temperature=1.0, top_p=0.9)

    def spec(seed: int) -> SessionSpec:
        base = team("Ann", "Ben", seed=seed)
        workers = tuple(replace(worker, sampling=hot) for worker in base.workers)
        return replace(base, workers=workers)

    engine = tiny_engine(model)
    alone = engine.start(spec(3))
    run(engine, alone)
    together = [engine.start(spec(seed)) for seed in (3, 4, 3)]
    for session in together:
        session.opening()
    while any(not session.end_reason for session in together):
        engine.step([session for session in together if not session.end_reason])
    texts = [[worker.text for worker in session.workers] for session in (alone, *together)]
    assert texts[0] == texts[1] == texts[3]
    assert texts[0] != texts[2]


def test_next_step_visibility_lags_by_one_token(model: LoadedModel) -> None:
    """Ben's first logits do not depend on what Ann feeds in the same step; his second do."""

    def ben(visibility: Visibility, word: str) -> list[torch.Tensor]:
        engine = tiny_engine(model, visibility=visibility)
        spec = team("Ann", "Ben")
        ann = replace(spec.workers[0], first_input=ids(word))
        session = engine.start(replace(spec, workers=(ann, spec.workers[1])))
        session.opening()
        return [engine.step([session]).rows[1].logits for _ in range(2)]

    for visibility, same_first in ((Visibility.SAME_STEP, False), (Visibility.NEXT_STEP, True)):
        (one, one_later), (two, two_later) = ben(visibility, "apple"), ben(visibility, "zebra")
        assert torch.equal(one, two) == same_first
        assert not torch.equal(one_later, two_later)


def test_an_interrupted_forward_leaves_the_blocks_as_they_were(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben"))
    session.opening()
    engine.step([session])
    lengths = {name: block.length for name, block in session.blocks.items()}

    def interrupt(layer: int, *_: object) -> None:
        if layer == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine.cache, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.step([session])
    assert lengths == {name: block.length for name, block in session.blocks.items()}
    check_integrity(engine.cache)


def test_a_worker_stops_on_its_own_text_only(model: LoadedModel) -> None:
    """A stop string in what it was given does not count, however long the others are."""
    spec = team("Ann", stop_strings=("nn", "a much longer stop"))
    engine = tiny_engine(model)
    session = engine.start(spec)
    events = play(session, engine, {0: "Q" * 20})
    assert stops(events) == {"Ann": "max_tokens"}


def test_streamed_text_stops_before_a_stop_string(model: LoadedModel) -> None:
    spec = team("Ann", stop_strings=("END",))
    engine = tiny_engine(model)
    session = engine.start(spec)
    events = play(session, engine, {0: "so ENough. The EN" + "D" * 9})
    shown = "".join(event.text for event in events if isinstance(event, Text))
    assert shown == session.workers[0].text == "Ann [1]: so ENough. The "
    assert session.workers[0].paragraph_text == shown


def test_what_a_stop_string_might_have_been_is_shown_in_the_end(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", stop_strings=("END OF TEXT",)))
    events = play(session, engine, {0: "x" * 15 + "END O"})
    assert "".join(e.text for e in events if isinstance(e, Text)).endswith("xEND O")


def test_the_bytes_of_an_unfinished_character_are_shown_in_the_end(model: LoadedModel) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann"))
    events = play(session, engine, {0: "x" * 19 + "€"})
    assert session.workers[0].text.endswith("x\ufffd")
    assert "".join(e.text for e in events if isinstance(e, Text)) == session.workers[0].text


def test_a_session_that_may_not_begin_ends_at_once(model: LoadedModel) -> None:
    spec = team("Ann", "Ben")
    spec = replace(spec, workers=tuple(replace(w, stop_at_step=0) for w in spec.workers))
    session = tiny_engine(model).start(spec)
    assert session.opening()[-1] == SessionEnd(step=0, reason="all_stopped")


def test_an_error_while_choosing_leaves_the_blocks_as_they_were(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny_engine(model)
    session = engine.start(team("Ann", "Ben"))
    session.opening()
    monkeypatch.setattr(engine.runner, "sample", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.step([session])
    assert {session.blocks[name].length for name in ("w0", "w1")} == {0}
    monkeypatch.undo()
    engine.step([session])
    assert session.blocks["w0"].length == len(session.workers[0].spec.first_input)


def test_overlapped_visibility_lags_by_two_tokens(model: LoadedModel) -> None:
    """What Ann feeds in step 0 reaches Ben in step 2."""

    def ben(word: str) -> list[torch.Tensor]:
        engine = tiny_engine(model, visibility=Visibility.OVERLAPPED)
        spec = team("Ann", "Ben")
        ann = replace(spec.workers[0], first_input=ids(word))
        forced = {0: [70] * 9, 1: [70] * 9}
        session = engine.start(replace(spec, workers=(ann, spec.workers[1])), forced=forced)
        session.opening()
        outcomes = [engine.step([session]) for _ in range(4)]
        return [outcome.rows[1].logits for outcome in outcomes if outcome.rows]

    one, two = ben("apple"), ben("zebra")
    assert [torch.equal(*pair) for pair in zip(one, two, strict=True)] == [True, True, False]


def test_overlapped_sessions_end_before_they_outgrow_model_or_cache(model: LoadedModel) -> None:
    for fields, reason in (({}, "context_limit"), ({"cache_tokens": 12 * 64}, "cache_limit")):
        engine = tiny_engine(model, visibility=Visibility.OVERLAPPED, **fields)
        spec = team("Ann", "Ben")
        spec = replace(spec, workers=tuple(replace(w, max_tokens=None) for w in spec.workers))
        session = engine.start(spec)
        run(engine, session)
        assert session.end_reason == reason
        assert session.workers[0].num_chosen > 50
        engine.drain()
        session.free()
        check_integrity(engine.cache)
        assert engine.cache.pages.num_free == engine.cache.pages.num_pages
