"""Clients that vanish: the time until their sessions end, alone and beside others."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.serving.load import SECONDS, body

WHOLE = {"stream": False, "stream_options": None}

LOOK_SECONDS = 0.02
"""Between two looks for the end of a session."""

LONG = {"worker_tokens": 1_000, "answer_tokens": 8}
NO_END = {"0": -100, "2": -100}
"""A bias against the tokens with which the demo model ends its text."""


def vanish(url: str, clients: int, others: list[int], console: Console) -> None:
    """Let clients vanish one by one, and print how long their sessions went on.

    Args:
        url: address of the service.
        clients: number of clients of each kind that vanish.
        others: numbers of other sessions that run meanwhile; each gives a row for each kind.
        console: prints the table.
    """
    table = Table(title="seconds from a client's end to its session's")
    for head in ("kind", "other sessions", "clients", "median", "most"):
        table.add_column(head, justify="right")
    for count in others:
        for kind, stream in (("streamed", True), ("whole", False)):
            found = asyncio.run(_measure(url, clients, count, stream=stream))
            table.add_row(
                kind,
                str(count),
                str(len(found)),
                f"{statistics.median(found):.2f}",
                f"{max(found):.2f}",
            )
    console.print(table)


async def _measure(url: str, clients: int, others: int, *, stream: bool) -> list[float]:
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, timeout=SECONDS, limits=limits) as client,
        _going_on(client, others),
    ):
        return [
            await _vanish(client, _long(others + number), stream=stream)
            for number in range(clients)
        ]


@asynccontextmanager
async def _going_on(client: httpx.AsyncClient, count: int) -> AsyncIterator[None]:
    """Sessions that go on until the end of the block."""
    begun = asyncio.Semaphore(0)

    async def listen(number: int) -> None:
        async with client.stream("POST", "/v1/chat/completions", json=_long(number)) as reply:
            lines = reply.aiter_lines()
            await _first_session(lines)
            begun.release()
            async for _ in lines:
                pass

    tasks = [asyncio.create_task(listen(number)) for number in range(count)]
    for _ in tasks:
        await begun.acquire()
    try:
        yield
        assert not any(task.done() for task in tasks), "others came to their end meanwhile"
    finally:
        for task in tasks:
            task.cancel()


async def _vanish(client: httpx.AsyncClient, asked: dict[str, Any], *, stream: bool) -> float:
    """Seconds from the end of one client to that of its session."""
    if stream:
        async with client.stream("POST", "/v1/chat/completions", json=asked) as reply:
            name = await _first_session(reply.aiter_lines())
            begin = time.perf_counter()
    else:
        before = await _names(client)
        asking = asyncio.create_task(client.post("/v1/chat/completions", json={**asked, **WHOLE}))
        while not (new := await _names(client) - before):
            await asyncio.sleep(LOOK_SECONDS)
        (name,) = new
        await _until(client, name, "running")
        begin = time.perf_counter()
        asking.cancel()
    await _until(client, name, "ended")
    return time.perf_counter() - begin


async def _first_session(lines: AsyncIterator[str]) -> str:
    """The session of a stream, once a worker has said something."""
    session = ""
    async for line in lines:
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                session = choice.get("session", session)
                if choice["delta"].get("worker"):
                    return session
    raise AssertionError("the stream ended before any worker said something")


async def _names(client: httpx.AsyncClient) -> set[str]:
    listed = (await client.get("/v1/sessions")).json()["data"]
    return {one["id"] for one in listed}


async def _until(client: httpx.AsyncClient, name: str, state: str) -> None:
    while (await client.get(f"/v1/sessions/{name}")).json()["state"] != state:
        await asyncio.sleep(LOOK_SECONDS)


def _long(number: int) -> dict[str, Any]:
    """Return a request whose session ends only when its client does."""
    return {**body(number), "budgets": LONG, "logit_bias": NO_END}
