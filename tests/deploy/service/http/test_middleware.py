import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from ray.exceptions import TaskCancelledError

from hogwild_dist.deploy.service.http.middleware import RequestLog, SizeLimit, TrustedHosts

REQUEST = {"type": "http", "method": "GET", "headers": []}


class Counted:
    """Takes what would be counted."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []

    def count_request(self, route: str, status: int) -> None:
        self.requests.append((route, status))


async def nothing() -> MutableMapping[str, Any]:
    raise AssertionError


async def ignore(_: MutableMapping[str, Any]) -> None:
    pass


@pytest.mark.parametrize(("sent", "counted"), [(None, 499), (200, 200)])
def test_a_client_that_has_gone_is_no_fault_of_the_service(sent: int | None, counted: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if sent is not None:
            await send({"type": "http.response.start", "status": sent})
        raise asyncio.CancelledError

    metrics = Counted()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(RequestLog(app, metrics)(dict(REQUEST), nothing, ignore))
    assert metrics.requests == [("other", counted)]


def test_a_failure_is_answered_and_counts_as_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("broken by a client's words")

    sent: list[MutableMapping[str, Any]] = []

    async def keep(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    metrics = Counted()
    asyncio.run(RequestLog(app, metrics)(dict(REQUEST), nothing, keep))
    assert metrics.requests == [("other", 500)]
    assert sent[0]["status"] == 500
    assert b"The service failed" in sent[1]["body"]
    assert b"words" not in sent[1]["body"]


def test_a_request_that_serve_cancels_is_a_client_that_has_gone() -> None:
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(await receive())

    async def cancelled() -> MutableMapping[str, Any]:
        raise TaskCancelledError

    asyncio.run(SizeLimit(app, max_bytes=10)(dict(REQUEST), cancelled, ignore))
    assert heard == [{"type": "http.disconnect"}]


LOCAL = ("localhost", "127.0.0.1", "[::1]")


@pytest.mark.parametrize(
    ("hosts", "host", "known"),
    [
        (LOCAL, "localhost:8000", True),
        (LOCAL, "LOCALHOST", True),
        (LOCAL, "127.0.0.1:8000", True),
        (LOCAL, "[::1]:8000", True),
        (("::1",), "[::1]", True),
        (LOCAL, "evil.example:8000", False),
        (LOCAL, "localhost.evil.example", False),
        (LOCAL, "[", False),
        (LOCAL, None, False),
        (("*",), "evil.example", True),
    ],
)
def test_a_request_to_another_host_is_refused(
    hosts: tuple[str, ...], host: str | None, known: bool
) -> None:
    reached = []
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def keep(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode())]
    asyncio.run(TrustedHosts(app, hosts)({**REQUEST, "headers": headers}, nothing, keep))
    assert bool(reached) == known
    if not known:
        assert sent[0]["status"] == 400
        error = json.loads(sent[1]["body"])["error"]
        assert f"calls the host {host or ''!r}" in error["message"]
        assert error["type"] == "invalid_request_error"
