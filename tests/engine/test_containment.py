"""One session's failure is its own: on all shards at the same step, and no other session's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import ApplyChange, Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import SessionError
from hogwild_dist.exchange.process_group import Membership
from hogwild_dist.model.text_encoder import TextEncoder
from hogwild_dist.run.run import Run
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import replay_fed, replay_free
from hogwild_dist.session.changes import AddWorker, Interjection
from hogwild_dist.session.events import Event, Refused, SessionEnd, WorkerStop
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits, Team
from tests.exchange import grid
from tests.kvcache.integrity import check_integrity
from tests.rank_pool import RankPool
from tests.tiny_team import BREAKS, LONG
from tests.tiny_tokenizer import VOCAB_SIZE, byte_tokenizer

CACHE_TOKENS = 64 * 48
BAD = byte_tokenizer().encode("$", add_special_tokens=False)[0]
FAULTY = 3
"""Id of the session that chooses the bad token; the others never do."""


def team_of(number: int) -> Team:
    bias = {**BREAKS.logit_bias, BAD: 7.0}
    fine = replace(BREAKS, forbidden_ids=(BAD,))
    return Team(
        names=("Ann", "Ben", "Cat")[: 2 + number % 2],
        layout=LAYOUTS[("combined", "contiguous", "interleaved", "independent")[number % 4]],
        prompts=LONG,
        sampling=replace(BREAKS, logit_bias=bias) if number == FAULTY else fine,
        limits=Limits(max_tokens=60 if number == FAULTY else 8 + number),
        seed=number,
    )


SPECS = [team_of(number).spec(f"Problem {number}!", byte_tokenizer()) for number in range(1, 8)]


@contextmanager
def damaged_embedding() -> Iterator[None]:
    """The bad token is embedded as a vector that is not a number."""

    def damage(_module: object, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return torch.where((inputs[0] == BAD)[..., None], torch.nan, output)

    embedding = grid.model().hf_model.get_input_embeddings()
    hook = embedding.register_forward_hook(damage)
    try:
        yield
    finally:
        hook.remove()


class Unspeakable:
    """A tokenizer's decoder with a fault: it fails at the bad token."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        if "$" in tokens:
            raise ValueError("this token cannot be decoded")
        return [decoders.ByteLevel().decode(tokens)]


def faulty_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.Decoder.custom(Unspeakable())
    return tokenizer


def engine_of(place: Membership | None, visibility: Visibility, attention: str | None) -> Engine:
    if place is not None:
        return grid.rank_engine(place, visibility, CACHE_TOKENS, attention)
    return grid.new_engine(visibility, cache_tokens=CACHE_TOKENS, attention=attention)


def with_damaged_embedding(
    place: Membership | None, visibility: Visibility, attention: str | None, recorded: bool
) -> grid.Played:
    with damaged_embedding():
        engine = engine_of(place, visibility, attention)
        return grid.play(engine, SPECS, recorded=recorded)


def with_faulty_tokenizer(
    place: Membership | None, visibility: Visibility, attention: str | None, recorded: bool
) -> grid.Played:
    logging.disable()  # of the tracebacks, in a process of its own
    engine = engine_of(place, visibility, attention)
    engine.encoder = TextEncoder(faulty_tokenizer())
    return grid.play(engine, SPECS, recorded=recorded)


def of_session(played: grid.Played, session: int) -> list[Update]:
    return [update for update in played.updates if update.session == session]


def events(played: grid.Played, session: int) -> list[Event]:
    return [event for update in of_session(played, session) for event in update.events]


def check_contained(everybody: list[grid.Played], visibility: Visibility, what: str) -> None:
    for played in everybody:
        assert [u.events for u in played.updates] == [u.events for u in everybody[0].updates]
        assert [str(u.error) for u in played.updates] == [
            str(u.error) for u in everybody[0].updates
        ]
        assert played.free_pages == CACHE_TOKENS // 64
    *_, last = of_session(everybody[0], FAULTY)
    assert isinstance(last.error, SessionError)
    assert what in str(last.error)
    assert last.events[-1] == SessionEnd(step=last.events[-1].step, reason="failed")
    stops = [event for event in last.events if isinstance(event, WorkerStop)]
    assert {stop.reason for stop in stops} == {"failed"}
    for number, one in enumerate(SPECS, start=1):
        if number != FAULTY:
            assert events(everybody[0], number) == events(grid.alone(one, visibility), 1)


FAULTS = [
    (with_damaged_embedding, "are not numbers (NaN or infinite)"),
    (with_faulty_tokenizer, "this token cannot be decoded"),
]


@pytest.mark.slow
@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("shards", [pytest.param(2, marks=pytest.mark.full_grid), 3])
@pytest.mark.parametrize("fault", FAULTS, ids=["not numbers", "decoder"])
def test_a_session_that_fails_ends_on_all_shards_and_disturbs_no_other(
    visibility: Visibility, shards: int, fault: tuple, ranks: RankPool
) -> None:
    job, what = fault
    check_contained(ranks.run(job, shards, visibility, None, False), visibility, what)


@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("attention", [None, "tables"])
def test_pages_of_a_failed_session_serve_others(
    visibility: Visibility, attention: str | None
) -> None:
    """What is left in them is not numbers."""
    played = with_damaged_embedding(None, visibility, attention, True)
    check_contained([played], visibility, "are not numbers")
    *earlier, last = of_session(played, FAULTY)
    assert last.record is None
    assert all(update.record is not None for update in earlier[1:])
    assert last.final is not None
    assert last.final["final"]["reason"] == "failed"
    assert last.final["final"]["error"] == str(last.error)


def test_a_replay_in_which_the_session_fails_says_why(tmp_path: Path) -> None:
    engine = grid.new_engine(Visibility.SAME_STEP)
    list(Run(engine, "Count!", team_of(FAULTY), tmp_path / "t.json"))
    trace = read_trace(tmp_path / "t.json")
    assert list(replay_fed(trace, grid.new_engine(Visibility.SAME_STEP)))
    with damaged_embedding():
        engine = grid.new_engine(Visibility.SAME_STEP)
        with pytest.raises(SessionError, match="are not numbers"):
            list(replay_fed(trace, engine))
        with pytest.raises(SessionError, match="are not numbers"):
            list(replay_free(trace, engine))
    check_integrity(engine.cache)


def test_a_malformed_change_is_refused_and_the_session_goes_on() -> None:
    engine = grid.new_engine(Visibility.SAME_STEP)
    newcomer = SPECS[1].workers[0]
    view = ("common", "others", "own")
    newcomer = replace(newcomer, name="Zoe", view=view, newcomers_at=None)
    unknown = Interjection(name="You", text="x", token_ids=(VOCAB_SIZE,), target="common")
    malformed = [
        unknown,
        AddWorker(worker=newcomer, announcement=unknown),
        AddWorker(worker=replace(newcomer, first_input=(-1,))),
        AddWorker(worker=replace(newcomer, first_input=())),
        AddWorker(worker=replace(newcomer, view=("common", "others"))),
        AddWorker(worker=replace(newcomer, paragraphs_to="w0")),
        AddWorker(worker=replace(newcomer, sampling=replace(BREAKS, forbidden_ids=(VOCAB_SIZE,)))),
    ]
    inbox, seen = Inbox(), []
    inbox.put(1, Open(session=1, spec=SPECS[3], recorded=False))
    for number, change in enumerate(malformed, start=2):
        inbox.put(number, ApplyChange(session=1, change=change))
    ShardLoop(engine, inbox, seen.extend).run()
    check_integrity(engine.cache)
    refused = [event for one in seen for event in one.events if isinstance(event, Refused)]
    assert len(refused) == len(malformed)
    rest = [e for one in seen for e in one.events if not isinstance(e, Refused)]
    assert rest == events(grid.alone(SPECS[3], Visibility.SAME_STEP), 1)
