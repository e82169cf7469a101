"""A group of shards without Ray, with faults; the driver's own recovery looks after them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hogwild_dist.actors.driver.command_sender import CommandSender
from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.recovery import Recovery
from hogwild_dist.actors.driver.regrouping import Formed
from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import Command, Open, Pause
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import HogwildError, ShardError
from hogwild_dist.exchange.process_group import Membership, serve_store
from hogwild_dist.session.events import SessionEnd
from tests.exchange import grid
from tests.faults.injector import Fault, inject
from tests.faults.processes import HOST, Home, Process, serve


@dataclass(slots=True)
class Played:
    """What readers saw, and what is left at the end."""

    updates: list[Update] = field(default_factory=list)
    checksums: list[dict[int, dict[str, int]]] = field(default_factory=list)
    free_pages: list[int] = field(default_factory=list)
    epoch: int = 1
    num_shards: int = 0


class Group:
    """Plays sessions on shards with faults; the driver's own recovery looks after them.

    Args:
        visibility: visibility of the group.
        timeout_seconds: time limit of a collective.
        host: address of the driver.
        homes: where shards live, by the order of their start; the others live beside the driver.
    """

    def __init__(
        self,
        visibility: Visibility,
        timeout_seconds: float,
        host: str = HOST,
        homes: Sequence[Home] = (),
    ) -> None:
        self.host = host
        self.homes = list(homes)
        self.visibility = visibility
        self.timeout = timeout_seconds
        self.epoch = 1
        self.members: list[Process] = []
        self.everyone: list[Process] = []
        self.store = serve_store(self.host)
        self.stores = [self.store]
        self.publications = Publications()
        self.updates: list[Update] = []
        self.shown = asyncio.Event()
        self.recovery = Recovery(
            self,  # type: ignore[arg-type]
            self.publications,
            timeout_seconds=timeout_seconds,
            goes_on=True,
            pause=lambda epoch: self.sender.send(Pause(epoch=epoch)),
            on_regrouped=self._go_on,
        )
        self.sender = CommandSender(self, self.recovery.lose)  # type: ignore[arg-type]

    async def start(self, faults: Sequence[Sequence[Fault]]) -> None:
        """Start a shard for each sequence of faults."""
        world = len(faults)
        self.members = [
            self._new_shard(1, rank, world, self.store, mine) for rank, mine in enumerate(faults)
        ]
        await asyncio.wait_for(asyncio.gather(*(one.ready for one in self.members)), 60)

    async def spare(self, *faults: Fault) -> Process:
        """Start a shard in a group of its own."""
        self.stores.append(serve_store(self.host))
        shard = self._new_shard(0, 0, 1, self.stores[-1], faults)
        await asyncio.wait_for(shard.ready, 60)
        return shard

    async def play(self, commands: Sequence[Command], beside: Callable[["Group"], Any]) -> Played:
        """Run sessions until all have ended, and something beside them."""
        for command in commands:
            self.sender.send(command)
        sessions = {one.session for one in commands if isinstance(one, Open)}
        driving = [
            asyncio.create_task(self.recovery.keep_going()),
            asyncio.create_task(self.sender.keep_running()),
        ]
        playing = asyncio.gather(self._until_ended(sessions), beside(self))
        await asyncio.wait_for(
            asyncio.wait([playing, *driving], return_when=asyncio.FIRST_COMPLETED), 120
        )
        for task in driving:
            if task.done():
                task.result()  # raises why the group is lost
        await playing
        played = Played(updates=self.updates, epoch=self.epoch, num_shards=len(self.members))
        for shard in self.members:
            checksums, free = await asyncio.wait_for(shard.call("ended"), 30)
            played.checksums.append(checksums)
            played.free_pages.append(free)
        for task in driving:
            task.cancel()
        return played

    def close(self) -> None:
        for shard in self.everyone:
            shard.kill()

    def send(self, method: str, *arguments: Any) -> None:
        for shard in self.members:
            shard.call(method, *arguments)

    def error_of(self, _: Process, error: Exception) -> Exception:
        return error if isinstance(error, HogwildError) else ShardError("The shard failed.")

    def show(self, publication: Any) -> None:
        for updates in self.publications.put(publication):
            self.updates += updates
        if (agreed := self.publications.completed.agreed) is not None:
            self.sender.forget(agreed.command)
        self.shown.set()

    async def until(self, num_updates: int) -> None:
        """Wait until readers have seen so many updates."""
        while len(self.updates) < num_updates:
            self.shown.clear()
            await self.shown.wait()

    async def _until_ended(self, sessions: set[int]) -> None:
        while sessions - {
            update.session
            for update in self.updates
            if any(isinstance(event, SessionEnd) for event in update.events)
        }:
            self.shown.clear()
            await self.shown.wait()

    def _new_shard(
        self, epoch: int, rank: int, world: int, store: Any, faults: Sequence[Fault]
    ) -> Process:
        place = Membership(
            epoch=epoch,
            rank=rank,
            world_size=world,
            store_host=self.host,
            store_port=store.port,
            timeout_seconds=self.timeout,
        )
        home = self.homes.pop(0) if self.homes else Home(self.host)
        config, injecting = grid.config(self.visibility), partial(inject, faults=list(faults))
        arguments = place, grid.model, config, injecting, home
        shard: Process = Process(serve, arguments, lambda *said: self._hear(shard, *said))
        self.everyone.append(shard)
        return shard

    def _hear(self, shard: Process, what: str, said: Any) -> None:
        if what == "publication":
            shard.tell("published")
            self.show(said)
        else:
            self.recovery.lose_peers(said, "a peer is lost")

    def _go_on(self, formed: Formed[Process], lost: list[Process]) -> None:
        for shard in lost:
            self.sender.leave(shard)  # type: ignore[arg-type]
        for shard, command in zip(formed.members, formed.commands, strict=True):
            self.sender.send_again(shard, command)  # type: ignore[arg-type]


def play(
    commands: Sequence[Command],
    visibility: Visibility,
    faults: Sequence[Sequence[Fault]],
    timeout: float,
    beside: Callable[[Group], Any],
    host: str = HOST,
    homes: Sequence[Home] = (),
) -> Played:
    """Play sessions on a shard for each sequence of faults."""

    async def run() -> Played:
        group = Group(visibility, timeout, host, homes)
        try:
            await group.start(faults)
            return await group.play(commands, beside)
        finally:
            group.close()

    return asyncio.run(run())
