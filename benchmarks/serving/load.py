"""Streamed chat completions, a given number at a time, as their clients see them."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from benchmarks.serving.start import processes, steps

MODEL = "smollm2-135m"
WORKER_TOKENS, ANSWER_TOKENS = 32, 8
SECONDS = httpx.Timeout(600)


@dataclass(frozen=True, slots=True)
class Heard:
    """Measurements of one session's client.

    Attributes:
        session: id of the session.
        first: seconds until the first text of a worker.
        spans: worker -> seconds from its first text to its last.
        tokens: number of chosen tokens, including the answer's.
        prompt: number of prompt tokens.
        chunks: number of server-sent events.
    """

    session: str
    first: float
    spans: dict[str, float]
    tokens: int
    prompt: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Played:
    """Measurements of a number of sessions, of which a few run at a time.

    Attributes:
        seconds: duration of all sessions.
        heard: measurements of each client.
        per_token: seconds for each token, for each worker of each session.
        steps: number of the shard's steps.
        step_seconds: total duration of these steps.
        cpu: role of a process -> seconds of CPU time; `client` is this process.
    """

    seconds: float
    heard: list[Heard]
    per_token: list[float]
    steps: int
    step_seconds: float
    cpu: dict[str, float]

    @property
    def tokens_per_second(self) -> float:
        """Number of tokens that workers and answers chose each second."""
        return sum(one.tokens for one in self.heard) / self.seconds


def body(number: int) -> dict[str, Any]:
    """Return a request; each number has a problem of its own."""
    problem = f"Compare trains and planes for a trip of {10_000 + number} km."
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": problem}],
        "team": "peers",
        "budgets": {"worker_tokens": WORKER_TOKENS, "answer_tokens": ANSWER_TOKENS},
        "temperature": 0.7,
        "seed": number,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def play(url: str, bodies: Sequence[dict[str, Any]], at_once: int) -> Played:
    """Send all requests to the service, a given number at a time."""
    about = {**processes(), "client": psutil.Process()}
    steps_before, step_seconds_before = steps()
    cpu_before = {role: _cpu(process) for role, process in about.items()}
    seconds, heard, per_token = asyncio.run(_play(url, bodies, at_once))
    cpu = {role: _cpu(process) - cpu_before[role] for role, process in about.items()}
    steps_after, step_seconds_after = steps()
    return Played(
        seconds=seconds,
        heard=heard,
        per_token=per_token,
        steps=steps_after - steps_before,
        step_seconds=step_seconds_after - step_seconds_before,
        cpu=cpu,
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _play(
    url: str, bodies: Sequence[dict[str, Any]], at_once: int
) -> tuple[float, list[Heard], list[float]]:
    turn = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS, limits=limits) as client:

        async def one(asked: dict[str, Any]) -> Heard:
            async with turn:
                return await _listen(client, asked)

        begin = time.perf_counter()
        heard = await asyncio.gather(*(one(asked) for asked in bodies))
        seconds = time.perf_counter() - begin
        per_token = [span for each in heard for span in await _per_token(client, each)]
    return seconds, heard, per_token


async def _listen(client: httpx.AsyncClient, asked: dict[str, Any]) -> Heard:
    """One client."""
    begin = time.perf_counter()
    times: dict[str, list[float]] = {}
    session, usage, chunks = "", {}, 0
    async with client.stream("POST", "/v1/chat/completions", json=asked) as reply:
        assert reply.status_code == 200, (reply.status_code, await reply.aread())
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunks += 1
            chunk = json.loads(line.removeprefix("data: "))
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                session = choice.get("session", session)
                if worker := choice["delta"].get("worker"):
                    times.setdefault(worker, []).append(time.perf_counter())
    return Heard(
        session=session,
        first=min(one[0] for one in times.values()) - begin,
        spans={worker: one[-1] - one[0] for worker, one in times.items()},
        tokens=usage["completion_tokens"],
        prompt=usage["prompt_tokens"],
        chunks=chunks,
    )


async def _per_token(client: httpx.AsyncClient, heard: Heard) -> list[float]:
    """Seconds a token, worker by worker; how many it chose is asked for afterwards."""
    look = (await client.get(f"/v1/sessions/{heard.session}")).json()
    return [
        heard.spans[worker["name"]] / (worker["num_tokens"] - 1)
        for worker in look["workers"]
        if worker["num_tokens"] > 1
    ]
