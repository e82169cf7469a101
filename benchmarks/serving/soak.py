"""Thousands of short sessions by clients of all kinds: does memory or any other resource grow?"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.serving.start import actors, group, idle, processes_by_role, wait_until

AT_ONCE = 16
MEBIBYTE = 2**20
SAMPLES = 5
"""Number of samples of the processes' resources, spread evenly over the requests."""

Faults = Callable[[], AbstractContextManager[Counter[str] | None]]

Client = Callable[[httpx.AsyncClient, int], Awaitable[str]]
Resources = dict[str, tuple[float, int]]
"""Role -> MiB of resident memory, and open files."""


def soak(
    url: str, requests: int, minutes: float, console: Console, faults: Faults = nullcontext
) -> None:
    """Send requests, and print which resources have grown.

    Args:
        url: address of the service, which runs the tiny model.
        requests: maximum number of requests.
        minutes: time after which no further requests are sent.
        console: prints the tables.
        faults: what else happens while requests are sent.
    """
    before = actors()
    began = time.monotonic()
    late = began + 60 * minutes
    results: Counter[str] = Counter()
    samples: list[tuple[int, Resources]] = []
    for part in range(SAMPLES):
        if time.monotonic() > late:
            break
        numbers = range(requests * part // SAMPLES, requests * (part + 1) // SAMPLES)
        with faults() as happened:
            results += asyncio.run(_send(url, numbers, late))
        if happened:
            console.print(f"faults: {dict(happened)}")
        assert idle(url), "sessions go on that nobody waits for"
        samples.append((results.total(), resources()))
    seconds = time.monotonic() - began
    console.print(growth(samples))
    console.print(f"{results.total()} requests in {seconds:.0f} s: {dict(results.most_common())}")
    console.print(f"actors before: {_roles(before)}, after: {_roles(actors())}")
    with group() as kept:
        assert wait_until(lambda: not any(one.sessions for one in kept.status()), 10)
        for shard in kept.status():
            console.print(f"pages of the KV cache free: {shard.free_pages} of {shard.num_pages}")
        console.print(f"sessions in the journal: {len(kept.sessions())}")


def resources() -> Resources:
    """Return the memory and open files of all processes."""
    return {
        role: (
            sum(one.memory_info().rss / MEBIBYTE for one in found),
            sum(one.num_fds() for one in found),
        )
        for role, found in processes_by_role().items()
    }


def growth(samples: list[tuple[int, Resources]]) -> Table:
    """Return the table of memory and open files after each number of requests."""
    table = Table(title="resident memory, MiB, and open files")
    for head in ("process", *(f"{done} requests" for done, _ in samples), "grown", "files"):
        table.add_column(head, justify="right")
    for role in samples[0][1]:
        memory = [at.get(role, (0.0, 0))[0] for _, at in samples]
        files = [at.get(role, (0.0, 0))[1] for _, at in samples]
        table.add_row(
            role,
            *(f"{one:.1f}" for one in memory),
            f"{memory[-1] - memory[0]:+.1f}",
            " ".join(map(str, files)),
        )
    return table


class RefusedError(Exception):
    """The service has refused a request."""


def _roles(found: dict[str, tuple[str, int]]) -> dict[str, int]:
    """Return role -> number of actors."""
    return dict(sorted(Counter(role for role, _ in found.values()).items()))


async def _send(url: str, numbers: range, late: float) -> Counter[str]:
    """Requests of clients of all kinds, a few at a time; what came of them."""
    turn = asyncio.Semaphore(AT_ONCE)
    results: Counter[str] = Counter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("soaking", total=len(numbers))

        async def one(client: httpx.AsyncClient, number: int) -> None:
            async with turn:
                if time.monotonic() < late:
                    kind = random.Random(number).choice(KINDS)
                    try:
                        came = await kind(client, number)
                    except (httpx.HTTPError, RefusedError) as error:
                        came = str(error) or type(error).__name__
                    results[f"{kind.__name__} {came}"] += 1
                progress.advance(task)

        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
            await asyncio.gather(*(one(client, number) for number in numbers))
    return results


def _chat(number: int, **more: Any) -> dict[str, Any]:
    problem = f"Question {number}: how far is it?"
    messages = [{"role": "user", "content": problem}]
    return {"model": "tiny", "messages": messages, "seed": number, **more}


async def chat(client: httpx.AsyncClient, number: int) -> str:
    """Waits for the whole answer."""
    reply = await client.post("/v1/chat/completions", json=_chat(number))
    return str(reply.status_code)


async def streamed(client: httpx.AsyncClient, number: int) -> str:
    """Reads a stream to its end."""
    asked = _chat(number, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as reply:
        lines = [line async for line in reply.aiter_lines() if line]
    return f"{reply.status_code} {'whole' if lines[-1] == 'data: [DONE]' else 'cut'}"


async def vanished(client: httpx.AsyncClient, number: int) -> str:
    """Reads the beginning of a stream and is gone."""
    asked = _chat(number, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as reply:
        await anext(reply.aiter_lines())
    return str(reply.status_code)


async def impatient(client: httpx.AsyncClient, number: int) -> str:
    """Asks for a whole answer and does not wait for it."""
    try:
        reply = await client.post("/v1/chat/completions", json=_chat(number), timeout=0.2)
    except httpx.TimeoutException:
        return "gone"
    return str(reply.status_code)


async def followed(client: httpx.AsyncClient, number: int) -> str:
    """Opens a session, records it, follows it to its end, and fetches its trace."""
    session = await _opened(client, number, trace=True)
    async with client.stream("GET", f"/v1/sessions/{session}/events") as reply:
        async for _ in reply.aiter_lines():
            pass
    return str((await client.get(f"/v1/sessions/{session}/trace")).status_code)


async def cancelled(client: httpx.AsyncClient, number: int) -> str:
    """Opens a session and ends it at once."""
    session = await _opened(client, number)
    return str((await client.post(f"/v1/sessions/{session}/cancel")).status_code)


async def left(client: httpx.AsyncClient, number: int) -> str:
    """Opens a session, says something to the team, and never comes back."""
    session = await _opened(client, number)
    said = {"text": "Hurry!"}
    return str((await client.post(f"/v1/sessions/{session}/messages", json=said)).status_code)


async def _opened(client: httpx.AsyncClient, number: int, **more: Any) -> str:
    asked = {"problem": f"Question {number}: how far is it?", "seed": number, **more}
    reply = await client.post("/v1/sessions", json=asked)
    if reply.status_code != 201:
        raise RefusedError(f"not opened, {reply.status_code}")
    return str(reply.json()["id"])


KINDS: tuple[Client, ...] = (chat, streamed, vanished, impatient, followed, cancelled, left)
