"""`ProcessShards`: the shards of a driver, as processes, which die and hang as a trial says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hogwild_dist.actors.driver.shard_set import ALONE
from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.shard_runner import ShardRunner
from hogwild_dist.errors import HogwildError, ShardError
from hogwild_dist.exchange.process_group import Membership, serve_store
from hogwild_dist.model.loader import LoadedModel, prepare_model
from tests.faults.chaos.board import Board
from tests.faults.chaos.schedule import CHANGE_POINTS, Fault
from tests.faults.injector import around, strike
from tests.faults.processes import HOST, TRANSFER, Process, serve
from tests.tiny_engine import tiny_network

START_SECONDS = 60.0


@cache
def long_model() -> LoadedModel:
    """A tiny model that can read long texts."""
    return prepare_model(tiny_network(16_384).double(), name="tiny")


def inject(runner: ShardRunner, faults: Sequence[Fault], folder: Path) -> None:
    """Make the faults of a trial happen in one of its shards."""
    board, exchange = Board(folder), runner.exchange

    def happen(after: bool, *, point: str) -> None:
        now = max(board.round, runner.engine.rounds.completed.number)
        for fault in faults:
            due = fault.point == point and fault.after == after and fault.round <= now
            own = point in CHANGE_POINTS or (
                exchange.epoch > 0 and exchange.rank == fault.rank % exchange.world_size
            )
            if due and own and board.claim(fault.number):
                strike(fault.kind, exchange)

    for point in {fault.point for fault in faults}:
        owner: Any = exchange
        if point in TRANSFER:
            owner = runner.transfer
        elif point in CHANGE_POINTS and point != "join":
            owner = runner
        around(owner, TRANSFER.get(point, point), partial(happen, point=point))


class ProcessShards:
    """What a driver needs of its shards; see `ShardSet`.

    Args:
        config: settings of the engine of each shard.
        timeout_seconds: time limit of a collective.
        faults: what happens to the shards.
        folder: folder of the trial.
        hear: called with a shard and what it says.
        tell: called with the process id of every shard.
    """

    host = HOST

    def __init__(
        self,
        config: EngineConfig,
        timeout_seconds: float,
        faults: Sequence[Fault],
        folder: Path,
        hear: Callable[..., None],
        tell: Callable[[int], None],
    ) -> None:
        self.epoch = 0
        self.members: list[Process] = []
        self.store: Any = None
        self._config = config
        self._timeout = timeout_seconds
        self._faults = faults
        self._folder = folder
        self._hear = hear
        self._tell = tell
        self._everyone: list[Process] = []

    async def start(self, count: int) -> None:
        """Start the shards of the first group."""
        self.epoch += 1
        self.store = serve_store(HOST)
        first = self._membership(self.store, count)
        self.members = [self._new(replace(first, rank=rank)) for rank in range(count)]
        await self._ready(self.members)

    async def add(self, count: int, in_place_of: Sequence[Process] = ()) -> list[Process]:
        """Start shards that are ready to join the group."""
        self.newcomers_store = serve_store(HOST)
        alone = self._membership(self.newcomers_store, 1)
        added = [self._new(replace(alone, epoch=ALONE - at)) for at in range(count)]
        await self._ready(added)
        return added

    def remove(self, handle: Process) -> None:
        handle.kill()

    def shrink(self) -> None:
        """Nothing is reserved."""

    async def call(self, method: str, *arguments: Any) -> list[Any]:
        return await asyncio.gather(*(one.call(method, *arguments) for one in self.members))

    def send(self, method: str, *arguments: Any) -> None:
        for member in self.members:
            member.call(method, *arguments).add_done_callback(asyncio.Future.exception)

    def error_of(self, _: Process, error: Exception) -> Exception:
        return error if isinstance(error, HogwildError) else ShardError("A shard failed.")

    def release(self) -> None:
        for one in self._everyone:
            one.kill()
        self.members = []

    async def cancel_start(self) -> None:
        """A start of processes is not cancelled."""

    async def _ready(self, shards: Sequence[Process]) -> None:
        try:
            await asyncio.wait_for(asyncio.gather(*(one.ready for one in shards)), START_SECONDS)
        except EOFError as error:
            for one in shards:
                one.kill()
            raise ShardError("A shard died while it started.") from error

    def _new(self, place: Membership) -> Process:
        faults = [one for one in self._faults if not one.of_driver]
        arguments = (
            place,
            long_model,
            self._config,
            partial(inject, faults=faults, folder=self._folder),
        )
        shard: Any = Process(serve, arguments, lambda *said: self._hear(shard, *said))
        self._tell(shard.process.pid)
        self._everyone.append(shard)
        return shard

    def _membership(self, store: Any, world_size: int) -> Membership:
        return Membership(
            epoch=self.epoch,
            rank=0,
            world_size=world_size,
            store_host=HOST,
            store_port=store.port,
            timeout_seconds=self._timeout,
        )
