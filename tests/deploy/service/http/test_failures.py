"""Failures that nobody expected reach the request that they hit, and the log, once."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from logging.handlers import QueueHandler
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from hogwild_dist.actors.driver.session_record import Owner, SessionSnapshot
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.sessions.session_params import SessionParams
from hogwild_dist.engine.updates import Update, opening_update
from hogwild_dist.model.loader import LoadedModel, load_model
from hogwild_dist.team.session_request import SessionRequest
from tests.deploy.service.one_shard import Group, client_of, service_of
from tests.tiny_engine import tiny_engine

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Go on!"}]}
WHILE_REPORTED = r"The service failed; its log describes the failure of request \w+\."


@pytest.fixture(scope="module")
def model(tiny_dir: Path) -> LoadedModel:
    return load_model(tiny_dir, dtype="float64", device="cpu")


@pytest.fixture
def logged() -> Iterator[Callable[[], list[str]]]:
    """What the service has logged as an error."""
    logger, records = logging.getLogger("hogwild_dist.service"), Queue[logging.LogRecord]()
    handler = QueueHandler(records)
    handler.setLevel(logging.ERROR)
    logger.addHandler(handler)
    yield lambda: [record.getMessage() for record in list(records.queue)]
    logger.removeHandler(handler)


class Fails(Group):
    """Sessions end unexpectedly, before their first update or after it."""

    def __init__(self, model: LoadedModel, error: BaseException | None, begins: bool) -> None:
        super().__init__(model)
        self.error = error
        self.begins = begins
        self.cancelled: list[int] = []

    async def follow(self, number: int, cursor: int = 0) -> AsyncIterator[list[Update]]:
        if self.begins:
            session = tiny_engine(self.model).start(self.journal.record(number).request.spec)
            yield [opening_update(session, session.opening())]
        if self.error is not None:
            raise self.error

    async def cancel(self, number: int) -> None:
        self.cancelled.append(number)


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "sentence", "num_logged"),
    [
        (OverflowError("a client's words"), 500, WHILE_REPORTED, 1),
        (ClusterError("The group is lost."), 503, r"The group is lost\.", 0),
        (None, 503, r"The session ended without its last update; open a new one\.", 0),
        (asyncio.CancelledError(), 503, r"A call of the session's group was cancelled.*", 0),
    ],
    ids=["unexpected", "expected", "silent", "cancelled"],
)
def test_a_chat_whose_session_fails_is_told(
    tiny_dir: Path, model: LoadedModel, logged: Callable[[], list[str]],
    begins: bool, error: BaseException | None, status: int, sentence: str, num_logged: int,
) -> None:  # fmt: skip
    group = Fails(model, error, begins)
    client = client_of(service_of(tiny_dir, group))
    whole = client.post("/v1/chat/completions", json=CHAT)
    assert whole.status_code == status
    told = whole.json()["error"]["message"]
    assert_sentence(told, sentence)
    assert len(logged()) == num_logged

    streamed = client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    if not begins:
        assert streamed.status_code == status
        told = streamed.json()["error"]["message"]
    else:
        assert streamed.status_code == 200
        last = streamed.text.strip().split("\n\n")[-1]
        told = json.loads(last.removeprefix("data: "))["error"]["message"]
    assert_sentence(told, sentence)
    assert logged() == ["request failed"] * (2 * num_logged)
    assert group.cancelled == [1, 2]


def assert_sentence(told: str, sentence: str) -> None:
    assert re.fullmatch(sentence, told), told
    assert "words" not in told


@pytest.mark.parametrize("begins", [False, True])
def test_who_follows_a_session_is_told_of_a_failure(
    tiny_dir: Path, model: LoadedModel, logged: Callable[[], list[str]], begins: bool
) -> None:
    client = client_of(service_of(tiny_dir, Fails(model, OverflowError("words"), begins)))
    name = client.post("/v1/sessions", json={"problem": "Go on!"}).json()["id"]
    events = client.get(f"/v1/sessions/{name}/events").text.strip().split("\n\n")
    kind, data = events[-1].split("\n")
    assert kind == "event: end"
    end = json.loads(data.removeprefix("data: "))
    assert end["state"] == "failed"
    assert_sentence(end["error"], WHILE_REPORTED)
    assert logged() == ["request failed"]


@pytest.mark.parametrize("error", [ClusterError("The driver does not answer."), None])
def test_events_of_a_session_that_goes_on_have_no_end(
    tiny_dir: Path, model: LoadedModel, error: BaseException | None
) -> None:
    client = client_of(service_of(tiny_dir, Fails(model, error, begins=True)))
    name = client.post("/v1/sessions", json={"problem": "Go on!"}).json()["id"]
    events = client.get(f"/v1/sessions/{name}/events").text
    assert "event: update" in events
    assert "event: end" not in events


class Refuses(Fails):
    """Opens one session and no more, or none that can be looked at."""

    def __init__(self, model: LoadedModel, most: int = 1) -> None:
        super().__init__(model, None, begins=False)
        self.most = most
        self.opening = asyncio.Event()
        self.may_open = asyncio.Event()
        self.may_open.set()

    async def open(self, request: SessionRequest, *, recorded: bool, owner: Owner) -> int:
        if len(self.journal.records) >= self.most:
            raise ClusterError("The group is shutting down.")
        self.opening.set()
        await self.may_open.wait()
        return await super().open(request, recorded=recorded, owner=owner)

    async def snapshot(self, number: int) -> SessionSnapshot:
        raise ClusterError("The group is silent.")


def test_sessions_opened_before_one_that_fails_are_cancelled(
    tiny_dir: Path, model: LoadedModel
) -> None:
    group = Refuses(model, most=2)
    reply = client_of(service_of(tiny_dir, group)).post(
        "/v1/chat/completions", json={**CHAT, "n": 3}
    )
    assert reply.status_code == 503
    assert group.cancelled == [1, 2]


def test_a_session_whose_name_cannot_be_told_is_cancelled(
    tiny_dir: Path, model: LoadedModel
) -> None:
    group = Refuses(model)
    reply = client_of(service_of(tiny_dir, group)).post("/v1/sessions", json={"problem": "Go on!"})
    assert reply.status_code == 503
    assert group.cancelled == [1]


def test_a_session_is_cancelled_whose_client_leaves_while_it_is_opened(
    tiny_dir: Path, model: LoadedModel
) -> None:
    async def leave() -> list[int]:
        group = Refuses(model)
        group.may_open.clear()
        service: Service = service_of(tiny_dir, group)
        params = SessionParams(problem="Go on!", max_tokens=8)
        call: asyncio.Task[Any] = asyncio.create_task(
            service.sessions.open(params, tenant="ann", leased=False)
        )
        await group.opening.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        group.may_open.set()
        await asyncio.wait_for(until(lambda: bool(group.cancelled)), 10.0)
        return group.cancelled

    assert asyncio.run(leave()) == [1]


def test_background_work_that_fails_is_logged(
    tiny_dir: Path, model: LoadedModel, logged: Callable[[], list[str]]
) -> None:
    class Unreachable(Group):
        async def cancel(self, number: int) -> None:
            raise ClusterError("The group is silent.")

    async def cancel() -> None:
        sessions = service_of(tiny_dir, Unreachable(model)).sessions
        opened = await sessions.open(
            SessionParams(problem="Go on!", max_tokens=8), tenant="ann", leased=False
        )
        sessions.cancel_in_background(opened.id)
        await asyncio.wait_for(until(lambda: bool(logged())), 10.0)

    asyncio.run(cancel())
    assert logged() == ["background work failed"]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)
