"""The desk before a group that is a journal: lists, changes and traces of its sessions."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hogwild_dist.actors.driver.journal import Journal, Owner, SessionLook, SessionSummary
from hogwild_dist.deploy.service.config import Bounds, Key, ServiceConfig
from hogwild_dist.deploy.service.errors import ApiError, FieldError
from hogwild_dist.deploy.service.http.dependencies import Found
from hogwild_dist.deploy.service.http.sessions import Newcomer, Words, join, say
from hogwild_dist.deploy.service.keys import Client
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.deploy.service.sessions.session_params import Wish
from hogwild_dist.deploy.service.sessions.session_service import MOST_LISTED, Desk
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.changes import Change
from hogwild_dist.session.events import WorkerStop
from hogwild_dist.team.session_request import Origin
from tests.tiny_tokenizer import byte_tokenizer


class Group:
    """A group, as far as the desk asks it."""

    def __init__(self) -> None:
        self.journal = Journal(kept=1_000)
        self.changes: list[Change] = []
        self.forgets: set[int] = set()

    async def sessions(self) -> list[SessionSummary]:
        known = [record.summary() for record in self.journal.records.values()]
        for number in self.forgets:
            self.journal.records.pop(number, None)
        return known

    async def look(self, number: int) -> SessionLook:
        return self.journal.look(number)

    async def alter(self, number: int, change: Change) -> None:
        self.changes.append(change)

    async def join(self, number: int, newcomer: Change) -> None:
        self.journal.expect_newcomer(number, alone=True)
        await self.alter(number, newcomer)


class Groups:
    """One group."""

    def __init__(self) -> None:
        self.group = Group()

    async def loads(self) -> dict[int, Any]:
        return {0: None}

    def at(self, slot: int) -> Group:
        return self.group


@pytest.fixture
def desk(tiny_dir: Path) -> Desk:
    made = Desk(ServiceConfig(model=str(tiny_dir), bounds={"workers": 2}))
    made.groups = Groups()
    return made


def begin(desk: Desk, number: int, *, recorded: bool = False, **fields: Any) -> Found:
    """A session of Ann's with two workers."""
    plan = desk.planner.plan(Wish(**{"problem": "Count!", "team": "peers", **fields}))
    spec = plan.team.spec("Count!", byte_tokenizer())
    origin = Origin(problem="Count!", team=plan.team, spec=spec)
    journal = desk.groups.group.journal
    journal.begin(number, origin, Owner(tenant="ann", secret="x"), recorded=recorded)
    return Found(SessionId(0, number, "x"), journal.look(number))


def test_a_session_that_is_forgotten_while_sessions_are_listed_is_left_out(desk: Desk) -> None:
    for number in (1, 2, 3):
        begin(desk, number)
    desk.groups.group.forgets = {2}
    found = asyncio.run(desk.looks("ann"))
    assert [name.number for name, _ in found] == [3, 1]
    assert asyncio.run(desk.looks("ben")) == []


def test_a_list_ends_with_the_newest(desk: Desk) -> None:
    for number in range(1, MOST_LISTED + 6):
        begin(desk, number)
    numbers = [name.number for name, _ in asyncio.run(desk.looks("ann"))]
    assert numbers == list(range(MOST_LISTED + 5, 5, -1))


def test_a_team_that_is_full_takes_nobody_until_somebody_has_stopped(desk: Desk) -> None:
    service = SimpleNamespace(desk=desk)
    carol = Newcomer(name="Carol", role="checks")
    full = begin(desk, 1)
    with pytest.raises(FieldError, match="The team has 2 workers and may have 2 here"):
        asyncio.run(join(carol, full, service, Client(None)))
    assert desk.groups.group.changes == []
    stop = WorkerStop(step=0, worker=0, name="Alice", reason="left")
    desk.groups.group.journal.add([Update(session=1, step=0, events=(stop,))])
    freed = Found(full.id, desk.groups.group.journal.look(1))
    asyncio.run(join(carol, freed, service, Client(None)))
    assert [change.worker.name for change in desk.groups.group.changes] == ["Carol"]


def test_newcomers_count_for_the_tokens_of_their_session(desk: Desk) -> None:
    bounds = {"session_tokens": 3 * 256 + 255}  # two workers' and their answer's, and nearly one's
    desk.config = desk.config.model_copy(update={"bounds": Bounds(**bounds)})
    with pytest.raises(FieldError, match=r"3 workers .* 1024 tokens together; .* choose 1023 here"):
        asyncio.run(
            join(Newcomer(name="Carol"), begin(desk, 1), SimpleNamespace(desk=desk), Client(None))
        )
    assert desk.groups.group.changes == []


def test_newcomers_come_one_at_a_time(desk: Desk) -> None:
    desk.config = desk.config.model_copy(update={"bounds": Bounds()})
    service, found = SimpleNamespace(desk=desk), begin(desk, 1)
    asyncio.run(join(Newcomer(name="Carol"), found, service, Client(None)))
    with pytest.raises(ConfigError, match="Another worker is joining session 1"):
        asyncio.run(join(Newcomer(name="Dan"), found, service, Client(None)))
    assert len(desk.groups.group.changes) == 1


def test_newcomers_bring_no_answer_of_their_own(desk: Desk) -> None:
    bounds = {"session_tokens": 3 * 256 + 2 * 256}
    desk.config = desk.config.model_copy(update={"bounds": Bounds(**bounds)})
    found = begin(desk, 1, team="independent", answer=FormKind.BOXED)
    assert len(found.look.origin.spec.finishers) == 2
    service = SimpleNamespace(desk=desk)
    asyncio.run(join(Newcomer(name="Carol"), found, service, Client(None)))
    assert len(desk.groups.group.changes) == 1


def test_a_brief_is_short_enough_to_be_read_between_two_steps(desk: Desk) -> None:
    desk.config = desk.config.model_copy(update={"bounds": Bounds()})
    newcomer = Newcomer(name="Carol", brief="x" * 513)
    with pytest.raises(FieldError, match=r"The brief takes 5\d\d tokens; it may take 512 here"):
        asyncio.run(join(newcomer, begin(desk, 1), SimpleNamespace(desk=desk), Client(None)))


def test_a_message_is_short_enough_to_be_read_between_two_steps(desk: Desk) -> None:
    service, found = SimpleNamespace(desk=desk), begin(desk, 1)
    asyncio.run(say(Words(text="x" * 400), found, service, Client(None)))
    with pytest.raises(FieldError, match=r"takes 5\d\d tokens; it may take 512 here"):
        asyncio.run(say(Words(text="x" * 513), found, service, Client(None)))
    assert len(desk.groups.group.changes) == 1


@pytest.mark.parametrize("kind", ["message", "worker"])
@pytest.mark.parametrize("quota", ["requests_per_minute", "tokens_per_minute"])
def test_words_and_newcomers_count_for_quotas(desk: Desk, kind: str, quota: str) -> None:
    found = begin(desk, 1)
    stop = WorkerStop(step=0, worker=0, name="Alice", reason="left")
    desk.groups.group.journal.add([Update(session=1, step=0, events=(stop,))])
    found = Found(found.id, desk.groups.group.journal.look(1))
    client = Client(Key(name="ann", sha256="0" * 64, **{quota: 1}))
    service = SimpleNamespace(desk=desk)

    async def change() -> None:
        if kind == "message":
            await say(Words(text="Hurry up!"), found, service, client)
        else:
            await join(Newcomer(name="Carol", brief="Be short."), found, service, client)

    asyncio.run(change())
    with pytest.raises(ApiError, match=f"has used up its {quota.partition('_')[0]}") as caught:
        asyncio.run(change())
    if quota == "tokens_per_minute":  # far more than one token: a token is a byte here
        assert caught.value.retry_after > 9 * 60
    assert len(desk.groups.group.changes) == 1


def test_a_session_that_was_lost_has_no_trace(desk: Desk) -> None:
    found = begin(desk, 1, recorded=True)
    with pytest.raises(ApiError, match="The session goes on"):
        asyncio.run(desk.trace(found.id, found.look))
    desk.groups.group.journal.fail("A shard died.")
    with pytest.raises(ApiError, match="was lost before its end and has no trace") as caught:
        asyncio.run(desk.trace(found.id, desk.groups.group.journal.look(1)))
    assert caught.value.status == 404
