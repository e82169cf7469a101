"""The service before a group that is a journal: lists, changes and traces of its sessions."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.session_record import Owner, SessionSnapshot, SessionSummary
from hogwild_dist.actors.errors import GoneError
from hogwild_dist.deploy.service.config import Bounds, Key, ServiceConfig
from hogwild_dist.deploy.service.errors import ApiError, FieldError, answer
from hogwild_dist.deploy.service.http.dependencies import NamedSession
from hogwild_dist.deploy.service.http.sessions import Newcomer, Words, join, say
from hogwild_dist.deploy.service.keys import Client
from hogwild_dist.deploy.service.sessions import group_router
from hogwild_dist.deploy.service.sessions.ids import SessionId, new_secret
from hogwild_dist.deploy.service.sessions.session_params import SessionParams
from hogwild_dist.deploy.service.sessions.session_service import MOST_LISTED, SessionService
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.changes import Change
from hogwild_dist.session.events import WorkerStop
from hogwild_dist.team.session_request import SessionRequest
from tests.tiny_tokenizer import byte_tokenizer


class Group:
    """A group, as far as the service asks it."""

    def __init__(self) -> None:
        self.journal = Journal(kept=1_000)
        self.changes: list[Change] = []
        self.forgets: set[int] = set()

    async def sessions(self) -> list[SessionSummary]:
        known = [record.summary() for record in self.journal.records.values()]
        for number in self.forgets:
            self.journal.records.pop(number, None)
        return known

    async def snapshot(self, number: int) -> SessionSnapshot:
        return self.journal.snapshot(number)

    async def apply_change(self, number: int, change: Change) -> None:
        self.changes.append(change)

    async def join(self, number: int, newcomer: Change) -> None:
        self.journal.expect_join(number, exclusive=True)
        await self.apply_change(number, newcomer)


class GroupRouter:
    """One group."""

    def __init__(self) -> None:
        self.group = Group()

    async def loads(self) -> dict[int, Any]:
        return {0: None}

    def at(self, slot: int) -> Group:
        return self.group


@pytest.fixture
def sessions(tiny_dir: Path) -> SessionService:
    made = SessionService(ServiceConfig(model=str(tiny_dir), bounds={"workers": 2}))
    made.groups = GroupRouter()
    return made


def begin(
    sessions: SessionService, number: int, *, recorded: bool = False, **fields: Any
) -> NamedSession:
    """A session of Ann's with two workers."""
    plan = sessions.team_builder.build_team(
        SessionParams(**{"problem": "Count!", "team": "peers", **fields})
    )
    spec = plan.team.spec("Count!", byte_tokenizer())
    origin = SessionRequest(problem="Count!", team=plan.team, spec=spec)
    journal = sessions.groups.group.journal
    journal.begin(number, origin, Owner(tenant="ann", secret="x"), recorded=recorded)
    return NamedSession(SessionId(0, number, "x"), journal.snapshot(number))


def test_a_session_that_is_forgotten_while_sessions_are_listed_is_left_out(
    sessions: SessionService,
) -> None:
    for number in (1, 2, 3):
        begin(sessions, number)
    sessions.groups.group.forgets = {2}
    found = asyncio.run(sessions.snapshots("ann"))
    assert [name.number for name, _ in found] == [3, 1]
    assert asyncio.run(sessions.snapshots("ben")) == []


@pytest.mark.parametrize(
    ("journal", "slot", "status"), [(None, 0, 404), ("/shared", 0, 503), ("/shared", 9, 404)]
)
def test_sessions_without_a_group_are_gone_unless_a_journal_has_them(
    tiny_dir: Path, journal: str | None, slot: int, status: int
) -> None:
    class Nobody(AsyncShardGroup):
        def __init__(self, name: str) -> None:
            raise GoneError(f"No group named {name!r} runs on this cluster.")

    service = SessionService(ServiceConfig(model=str(tiny_dir), journal=journal))
    service.groups = group_router.GroupRouter(service.config)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(group_router, "AsyncShardGroup", Nobody)
        with pytest.raises(HogwildError) as refused:
            asyncio.run(service.snapshot(str(SessionId(slot, 1, new_secret()))))
    reply = answer(refused.value)
    assert reply.status_code == status
    assert ("retry-after" in reply.headers) == (status == 503)


def test_a_list_ends_with_the_newest(sessions: SessionService) -> None:
    for number in range(1, MOST_LISTED + 6):
        begin(sessions, number)
    numbers = [name.number for name, _ in asyncio.run(sessions.snapshots("ann"))]
    assert numbers == list(range(MOST_LISTED + 5, 5, -1))


def test_a_team_that_is_full_takes_nobody_until_somebody_has_stopped(
    sessions: SessionService,
) -> None:
    service = SimpleNamespace(sessions=sessions)
    carol = Newcomer(name="Carol", role="checks")
    full = begin(sessions, 1)
    with pytest.raises(FieldError, match="The team has 2 workers; the limit is 2 here"):
        asyncio.run(join(carol, full, service, Client(None)))
    assert sessions.groups.group.changes == []
    stop = WorkerStop(step=0, worker=0, name="Alice", reason="left")
    sessions.groups.group.journal.add([Update(session=1, step=0, events=(stop,))])
    freed = NamedSession(full.id, sessions.groups.group.journal.snapshot(1))
    asyncio.run(join(carol, freed, service, Client(None)))
    assert [change.worker.name for change in sessions.groups.group.changes] == ["Carol"]


def test_newcomers_count_for_the_tokens_of_their_session(sessions: SessionService) -> None:
    bounds = {"session_tokens": 3 * 256 + 255}  # two workers' and their answer's, and nearly one's
    sessions.config = sessions.config.model_copy(update={"bounds": Bounds(**bounds)})
    with pytest.raises(FieldError, match=r"3 workers .* 1024 tokens together; .* is 1023 here"):
        asyncio.run(
            join(
                Newcomer(name="Carol"),
                begin(sessions, 1),
                SimpleNamespace(sessions=sessions),
                Client(None),
            )
        )
    assert sessions.groups.group.changes == []


def test_newcomers_come_one_at_a_time(sessions: SessionService) -> None:
    sessions.config = sessions.config.model_copy(update={"bounds": Bounds()})
    service, found = SimpleNamespace(sessions=sessions), begin(sessions, 1)
    asyncio.run(join(Newcomer(name="Carol"), found, service, Client(None)))
    with pytest.raises(ConfigError, match="Another worker is joining session 1"):
        asyncio.run(join(Newcomer(name="Dan"), found, service, Client(None)))
    assert len(sessions.groups.group.changes) == 1


def test_newcomers_bring_no_answer_of_their_own(sessions: SessionService) -> None:
    bounds = {"session_tokens": 3 * 256 + 2 * 256}
    sessions.config = sessions.config.model_copy(update={"bounds": Bounds(**bounds)})
    found = begin(sessions, 1, team="independent", answer=FormKind.BOXED)
    assert len(found.snapshot.origin.spec.finishers) == 2
    service = SimpleNamespace(sessions=sessions)
    asyncio.run(join(Newcomer(name="Carol"), found, service, Client(None)))
    assert len(sessions.groups.group.changes) == 1


def test_a_brief_is_short_enough_to_be_read_between_two_steps(sessions: SessionService) -> None:
    sessions.config = sessions.config.model_copy(update={"bounds": Bounds()})
    newcomer = Newcomer(name="Carol", brief="x" * 513)
    with pytest.raises(FieldError, match=r"The brief takes 5\d\d tokens; the limit is 512 here"):
        asyncio.run(
            join(newcomer, begin(sessions, 1), SimpleNamespace(sessions=sessions), Client(None))
        )


def test_a_message_is_short_enough_to_be_read_between_two_steps(sessions: SessionService) -> None:
    service, found = SimpleNamespace(sessions=sessions), begin(sessions, 1)
    asyncio.run(say(Words(text="x" * 400), found, service, Client(None)))
    with pytest.raises(FieldError, match=r"takes 5\d\d tokens; the limit is 512 here"):
        asyncio.run(say(Words(text="x" * 513), found, service, Client(None)))
    assert len(sessions.groups.group.changes) == 1


@pytest.mark.parametrize("kind", ["message", "worker"])
@pytest.mark.parametrize("quota", ["requests_per_minute", "tokens_per_minute"])
def test_words_and_newcomers_count_for_quotas(
    sessions: SessionService, kind: str, quota: str
) -> None:
    found = begin(sessions, 1)
    stop = WorkerStop(step=0, worker=0, name="Alice", reason="left")
    sessions.groups.group.journal.add([Update(session=1, step=0, events=(stop,))])
    found = NamedSession(found.id, sessions.groups.group.journal.snapshot(1))
    client = Client(Key(name="ann", sha256="0" * 64, **{quota: 1}))
    service = SimpleNamespace(sessions=sessions)

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
    assert len(sessions.groups.group.changes) == 1


def test_a_session_that_was_lost_has_no_trace(sessions: SessionService) -> None:
    found = begin(sessions, 1, recorded=True)
    with pytest.raises(ApiError, match="The session has not ended yet"):
        asyncio.run(sessions.trace(found.id, found.snapshot))
    sessions.groups.group.journal.fail("A shard died.")
    with pytest.raises(ApiError, match="was lost before its end and has no trace") as caught:
        asyncio.run(sessions.trace(found.id, sessions.groups.group.journal.snapshot(1)))
    assert caught.value.status == 404
