"""The driver of a trial: the project's own, in a process, with processes for shards."""

import asyncio
import errno
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hogwild_dist.actors.driver.driver import Driver
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.commands import ApplyChange
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.errors import HogwildError
from hogwild_dist.session.changes import Change
from hogwild_dist.team.session_request import SessionRequest
from tests.faults import processes
from tests.faults.chaos.board import Board
from tests.faults.chaos.schedule import Trial
from tests.faults.chaos.shards import ProcessShards
from tests.faults.processes import Process

TIMEOUT_SECONDS = 4.0
"""Time limit of a collective."""

FULL_DISK_WRITES = 3
"""Attempts to write the journal that fail one after the other."""

NAME = "chaos"
"""Name of the group."""


def engine_config(trial: Trial) -> EngineConfig:
    """Return the settings of the engines of a trial."""
    return EngineConfig(visibility=trial.visibility, cache_tokens=16_384, max_step_tokens=96)


class TrialDriver(Driver):
    """A driver to which faults happen.

    Args:
        trial: the trial.
        folder: folder of the trial, with its journal.
        tell: called with what the test wants to know.
    """

    def __init__(self, trial: Trial, folder: Path, tell: Callable[..., None]) -> None:
        self._trial = trial
        self._folder = folder
        self._tell = tell
        self._board = Board(folder)
        self._board.begin()
        self._changing: set[asyncio.Task[None]] = set()
        settings = GroupSettings(
            num_shards=trial.num_shards,
            shard=ShardSettings(
                model="tiny", engine=engine_config(trial), timeout_seconds=TIMEOUT_SECONDS
            ),
            journal=str(folder / "journal"),
        )
        super().__init__(settings, NAME)

    def _new_shards(self) -> Any:
        trial = self._trial
        return ProcessShards(
            engine_config(trial),
            TIMEOUT_SECONDS,
            trial.faults,
            self._folder,
            self._hear,
            partial(self._tell, "shard"),
        )

    async def begin(self, sessions: Sequence[tuple[SessionRequest, Sequence[Change]]]) -> list[int]:
        """Open sessions and change them before their first step."""
        numbers = []
        for request, changes in sessions:
            session = await self.open(request, recorded=False)
            for change in changes:
                self._journal.ask(session, change)
                self._keeper.send(ApplyChange(session=session, change=change))
            numbers.append(session)
        return numbers

    async def publish(self, publication: Publication) -> None:
        """Show updates, with the faults that happen before and after."""
        self._board.round = completed = publication.completed.number
        self._happen(completed, after=False)
        await super().publish(publication)
        self._happen(completed, after=True)
        for in_round, count in self._trial.counts.items():
            if in_round <= completed and self._board.claim(1000 + in_round):
                task = asyncio.create_task(self._scale(count))
                self._changing.add(task)

    async def ended(self) -> list[int]:
        """Return the free pages of every shard, when its run has ended."""
        return [free for _, free in await self._shards.call("ended")]

    async def _scale(self, count: int) -> None:
        try:
            await self.scale(count)
        except HogwildError as error:
            logging.getLogger("hogwild_dist.driver").info("not scaled: %s", error)

    def _happen(self, completed: int, *, after: bool) -> None:
        for fault in self._trial.faults:
            due = fault.of_driver and fault.after == after and fault.round <= completed
            if due and self._board.claim(fault.number):
                self._strike(fault.kind)

    def _strike(self, kind: str) -> None:
        match kind:
            case "all shards":
                for member in self._keeper.live.shards.members:
                    member.kill()
            case "full disk":
                fill_disk(self._log)
            case _:
                os.kill(os.getpid(), signal.SIGKILL)

    def _hear(self, shard: Process, what: str, said: Any) -> None:
        if what == "publication":
            shard.tell("published")
            task = asyncio.get_running_loop().create_task(self.publish(said))
            self._changing.add(task)
            task.add_done_callback(self._changing.discard)
        else:
            self._keeper.live.recovery.lose_peers(said, "a peer is lost")

    def _observe_group(self) -> None:
        super()._observe_group()
        num_shards = len(self._keeper.live.shards.members)
        self._tell("strength", time.monotonic(), num_shards, self._keeper.scaling.wanted)


def fill_disk(log: Any) -> None:
    """Let the next attempts to write a log fail as on a full disk."""
    files: LogFiles = log._files
    append, attempts = files.append, itertools.count(1)

    def fail(payload: bytes) -> None:
        if next(attempts) == FULL_DISK_WRITES:
            files.append = append  # type: ignore[method-assign]
        with files._telling("written"):
            raise OSError(errno.ENOSPC, "No space left on device")

    files.append = fail  # type: ignore[method-assign]


def drive(pipe: Connection, trial: Trial, folder: Path, log: Path, forkserver: str) -> None:
    """Be the driver of a trial: obey the test's calls until it ends."""
    processes.use_forkserver(forkserver)
    asyncio.run(_drive(pipe, trial, folder, log))


async def _drive(pipe: Connection, trial: Trial, folder: Path, log: Path) -> None:
    error_log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(error_log, 2)
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock:
            pipe.send(message)

    driver = TrialDriver(trial, folder, tell)

    async def answer(number: int, method: str, arguments: Sequence[Any]) -> None:
        try:
            result, error = await getattr(driver, method)(*arguments), None
        except Exception as raised:
            result, error = None, raised
        tell("reply", number, result, error)

    tell("ready")
    answering = set()
    while True:
        try:
            asked = await asyncio.to_thread(pipe.recv)
        except EOFError:
            os._exit(0)
        task = asyncio.create_task(answer(*asked))
        answering.add(task)
        task.add_done_callback(answering.discard)
