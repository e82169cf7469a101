"""Plays a trial, reads its sessions as clients do, and compares them with undisturbed ones."""

import asyncio
import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import ApplyChange, Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.events import Event, Text
from tests.faults.chaos.board import Board
from tests.faults.chaos.driver import NAME, drive, engine_config
from tests.faults.chaos.schedule import Fault, Trial, requests
from tests.faults.chaos.shards import long_model
from tests.faults.processes import CONTEXT, Process, forkserver_address
from tests.tiny_tokenizer import byte_tokenizer

CONTEXT.set_forkserver_preload(["tests.faults.chaos.driver"])

TRIAL_SECONDS = 180.0
"""Time after which a trial has failed."""

POLL_SECONDS = 0.1
"""Time between two questions whether there are shards."""

READ_SECONDS = 1.0
"""Time for which one call waits for updates."""


ON_THE_WAY_SECONDS = 0.2
"""Time for which tokens may still arrive that were sent before a fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """A fault that has happened.

    Attributes:
        fault: the fault.
        at: when it happened.
        replayed: whether no shard was left, so that the sessions were replayed.
        alone: whether the group had recovered from all faults before, and the next one came later
            than tokens.
        next_token: seconds until tokens arrived again, None if none did.
        full_strength: seconds until the group had all shards again, None if it lost none.
    """

    fault: Fault
    at: float
    replayed: bool
    alone: bool
    next_token: float | None
    full_strength: float | None


@dataclass(slots=True)
class Seen:
    """What clients and the test saw of a trial.

    Attributes:
        trial: the trial.
        events: events of each session.
        errors: error of each session.
        arrivals: times at which tokens arrived, and how many.
        strength: times at which the group changed, its number of shards, and that which is wanted.
        times: time of each fault that has happened, by its number.
        problem: what else went wrong; empty if nothing did.
    """

    trial: Trial
    events: list[list[Event]] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    strength: list[tuple[float, int, int]] = field(default_factory=list)
    times: dict[int, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def struck(self) -> list[Struck]:
        """The faults that have happened, by time."""
        times = sorted((at, number) for number, at in self.times.items())
        faults = {fault.number: fault for fault in self.trial.faults}
        known = [(at, faults[number]) for at, number in times if number in faults]
        found, calm_from = [], 0.0
        for (at, fault), (following, _) in pairwise([*known, (math.inf, None)]):
            next_token = self._next_token(at)
            soon = (next_token or at) + ON_THE_WAY_SECONDS
            whole = self._full_strength(at, soon)
            none_left = any(at < when < soon and not num for when, num, _ in self.strength)
            found.append(
                Struck(
                    fault=fault,
                    at=at,
                    alone=at >= calm_from and following > (next_token or at),
                    replayed=none_left or fault.kind in {"driver", "torn log"},
                    next_token=None if next_token is None else next_token - at,
                    full_strength=None if whole is None else whole - at,
                )
            )
            calm_from = max(calm_from, next_token or at, whole or at)
        return found

    def _next_token(self, at: float) -> float | None:
        """Return when the silence ended that a fault began; readers may still get what was sent."""
        gaps = [
            (after - max(before, at), after)
            for (before, _), (after, _) in pairwise(self.arrivals)
            if before <= at + ON_THE_WAY_SECONDS and after > at
        ]
        return max(gaps)[1] if gaps else None

    def _full_strength(self, at: float, soon: float) -> float | None:
        """Return when the group had all shards again that it has lost soon; None if none."""
        lost = [when for when, num, wanted in self.strength if at < when < soon and num < wanted]
        full = [when for when, num, wanted in self.strength
                if lost and when > lost[0] and num >= wanted]  # fmt: skip
        return full[0] if full else None


@cache
def undisturbed(scenario: int, visibility: Visibility) -> list[list[Event]]:
    """What each session writes in one process."""
    trial = Trial(
        seed=0, visibility=visibility, num_shards=1, scenario=scenario, faults=(), counts={}
    )
    engine = Engine(long_model(), byte_tokenizer(), engine_config(trial))
    inbox, seen = Inbox(), list[Update]()
    sessions = requests(scenario)
    number = 0
    for session, (request, changes) in enumerate(sessions, start=1):
        opened = Open(session=session, spec=request.spec, recorded=False)
        for command in (opened, *(ApplyChange(session=session, change=one) for one in changes)):
            inbox.put(number := number + 1, command)
    ShardLoop(engine, inbox, seen.extend).run()
    return [
        [event for update in seen if update.session == session for event in update.events]
        for session in range(1, len(sessions) + 1)
    ]


def play(trial: Trial, logs: Path) -> Seen:
    """Play a trial; its driver's log is kept in a folder."""
    seen = Seen(trial)
    with TemporaryDirectory() as folder:
        try:
            asyncio.run(asyncio.wait_for(_Play(seen, Path(folder), logs).run(), TRIAL_SECONDS))
        except Exception as error:
            seen.problem = f"{type(error).__name__}: {error}"
        board = Board(Path(folder))
        seen.times = board.times()
        board.close()
    seen.arrivals.sort()
    if not seen.problem and seen.events != undisturbed(trial.scenario, trial.visibility):
        seen.problem = "the sessions differ from undisturbed ones"
    return seen


class _Play:
    """The clients of a trial, and who starts its driver again."""

    def __init__(self, seen: Seen, folder: Path, logs: Path) -> None:
        self._seen = seen
        self._folder = folder
        self._log = logs / f"trial-{seen.trial.seed}.log"
        self._driver: Process | None = None
        self._up = asyncio.Event()
        self._pids: list[int] = []

    async def run(self) -> None:
        keeping = asyncio.create_task(self._keep_driver())
        try:
            await self._up.wait()
            sessions = await self._begin()
            self._seen.events = [[] for _ in sessions]
            self._seen.errors = [None for _ in sessions]
            following = asyncio.gather(*(self._follow(at, one) for at, one in enumerate(sessions)))
            await asyncio.wait([following, keeping], return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
            await following
            await self._check_shards()
        finally:
            keeping.cancel()
            if self._driver is not None:
                self._driver.kill()
            self._kill_shards()

    async def _begin(self) -> list[int]:
        assert self._driver is not None
        numbers: list[int] = await self._driver.call("begin", requests(self._seen.trial.scenario))
        return numbers

    async def _keep_driver(self) -> None:
        """Start the driver, and another one whenever it dies."""
        while True:
            arguments = self._seen.trial, self._folder, self._log, forkserver_address()
            driver = Process(drive, arguments, self._hear, daemon=False)
            await driver.ready
            with contextlib.suppress(EOFError):  # a fault may happen while it starts
                await driver.call("start")
                self._driver = driver
                self._up.set()
            await driver.dead.wait()
            self._up.clear()
            self._kill_shards()
            self._tear_log()

    async def _follow(self, at: int, session: int) -> None:
        """Read the updates of a session until it ends, from whichever driver runs."""
        cursor, ended = 0, False
        while not ended:
            await self._up.wait()
            assert self._driver is not None
            try:
                updates, ended, error = await self._driver.call(
                    "read", session, cursor, READ_SECONDS
                )
            except EOFError:
                await asyncio.sleep(0)
                continue
            now = time.monotonic()
            cursor += len(updates)
            events = [event for update in updates for event in update.events]
            chosen = sum(
                len(event.token_ids) for event in events if isinstance(event, Text) and event.chosen
            )
            if chosen:
                self._seen.arrivals.append((now, chosen))
            self._seen.events[at] += events
            self._seen.errors[at] = error
            ended = ended or error is not None

    async def _check_shards(self) -> None:
        """Check that nothing is left in the shards' caches, once there are shards."""
        free: list[int] = []
        while not free:
            with contextlib.suppress(EOFError, ClusterError):
                await self._up.wait()
                assert self._driver is not None
                free = await asyncio.wait_for(self._driver.call("ended"), 30)
            await asyncio.sleep(POLL_SECONDS)
        pages = engine_config(self._seen.trial).cache_tokens // 64
        if set(free) != {pages}:
            self._seen.problem = f"of {pages} pages, {free} are free at the end"

    def _hear(self, what: str, *said: Any) -> None:
        if what == "shard":
            self._pids.append(said[0])
        else:
            self._seen.strength.append((said[0], said[1], said[2]))

    def _kill_shards(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._pids.clear()

    def _tear_log(self) -> None:
        """Cut the end of the journal's last file, if that is what happened to the driver."""
        struck = Seen(self._seen.trial, times=self._times()).struck
        kinds = [one.fault.kind for one in struck]
        if [kind for kind in kinds if kind in {"driver", "torn log"}][-1:] == ["torn log"]:
            last = max((self._folder / "journal" / NAME).iterdir())
            size = last.stat().st_size
            os.truncate(last, max(size - 7, min(size, 64)))

    def _times(self) -> dict[int, float]:
        board = Board(self._folder)
        times = board.times()
        board.close()
        return times
