"""Thousands of requests, most of them with a mistake: none may be answered with a 500."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.serving.start import actors, group, idle, logs
from benchmarks.serving.wrong import Wrong

AT_ONCE = 8
SECONDS = 60.0
"""That an answer may take."""

BATCH = 50
"""Requests that mean the same sessions."""

LONG = 2_000
"""Tokens of a session that is meant to go on; it is ended with its batch."""

SHOWN = 10
OURS = b"x-content-type-options: nosniff"
"""A header of all answers that come from the service."""

FAULTS = ("500", "502", "503", "no answer in time")


@dataclass(frozen=True, slots=True)
class Fault:
    """A request that was answered with a 5xx status, or not at all.

    Attributes:
        request: the request as it was sent.
        reply: the beginning of the answer.
    """

    request: bytes
    reply: bytes


def send_malformed(url: str, count: int, seed: int, console: Console) -> None:
    """Send requests with mistakes, and print how they were answered.

    Args:
        url: address of the service, which runs the tiny model.
        count: number of requests.
        seed: seed of the random choices; equal seeds send equal requests.
        console: prints the table.
    """
    before, began = actors(), time.monotonic()
    address = httpx.URL(url)
    assert address.port is not None
    answered, faults = asyncio.run(_send(address.host, address.port, count, seed))
    assert idle(url), "sessions go on that nobody waits for"
    console.print(f"{count} requests in {time.monotonic() - began:.0f} s, seed {seed}")
    console.print(by_route(answered))
    for fault in faults[:SHOWN]:
        console.print(repr(fault.request[:1_500]), markup=False)
        console.print(repr(fault.reply.partition(b"\r\n\r\n")[2][:500]), markup=False)
    if faults:
        console.print(f"{len(faults)} faults; tracebacks are in {logs()}/serve")
    console.print(f"the same actors: {actors() == before}")
    with group() as kept:
        for shard in kept.status():
            console.print(f"pages of the KV cache free: {shard.free_pages} of {shard.num_pages}")


def by_route(answered: Counter[tuple[str, str]]) -> Table:
    """Return the table of statuses for each route."""
    statuses = sorted({status for _, status in answered})
    table = Table("route", *statuses)
    for route in sorted({route for route, _ in answered}):
        table.add_row(route, *(str(answered[route, status] or "") for status in statuses))
    table.add_section()
    totals = (sum(n for (_, one), n in answered.items() if one == status) for status in statuses)
    table.add_row("all", *map(str, totals))
    return table


async def _live(client: httpx.AsyncClient) -> str:
    """A session that goes on, so that it can be changed."""
    asked = {"problem": "Count for ever!", "max_tokens": LONG, "trace": True}
    return str((await client.post("/v1/sessions", json=asked)).json()["id"])


async def _send(
    host: str, port: int, count: int, seed: int
) -> tuple[Counter[tuple[str, str]], list[Fault]]:
    """All requests, a few at a time."""
    turn = asyncio.Semaphore(AT_ONCE)
    wrong = Wrong(random.Random(seed))
    answered: Counter[tuple[str, str]] = Counter()
    faults: list[Fault] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=count)

        async def one(route: str, request: bytes) -> None:
            async with turn:
                reply = await _answer(host, port, request)
            status = _status(reply)
            answered[route, status] += 1
            if status in FAULTS:
                faults.append(Fault(request, reply))
            if session_id := _opened(reply):
                wrong.remember(session_id)
            progress.advance(task)

        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=SECONDS) as client:
            for begin in range(0, count, BATCH):
                session = await _live(client)
                wrong.remember(session)
                some = [wrong.request() for _ in range(min(BATCH, count - begin))]
                await asyncio.gather(*(one(*each) for each in some))
                await client.post(f"/v1/sessions/{session}/cancel")
    return answered, faults


async def _answer(host: str, port: int, request: bytes) -> bytes:
    """The head of an answer and the beginning of its body; then this client is gone."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(SECONDS):
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100 "):  # go on; the answer follows
                head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.read(2_000)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except TimeoutError:
        return b"no answer in time"
    except ConnectionError as error:
        return type(error).__name__.encode()
    finally:
        writer.close()


def _status(reply: bytes) -> str:
    """Return the status, and whether Ray's proxy answered by itself."""
    if not reply.startswith(b"HTTP/1.1 "):
        return reply.decode() or "closed"
    status = reply[9:12].decode()
    return status if OURS in reply.lower() else f"{status} (proxy)"


def _opened(reply: bytes) -> str | None:
    """Return the id of the session that an answer names."""
    _, _, body = reply.partition(b"\r\n\r\n")
    try:
        return str(json.loads(body)["id"]) if b'"object":"session"' in body else None
    except (ValueError, KeyError):
        return None
