"""Shards in processes of their own, without Ray, that die or stop at named points.

They are looked after by the parts of the driver that know nothing of Ray.
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from hogwild_dist.actors.driver.command_sender import CommandSender
from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.recovery import Recovery
from hogwild_dist.actors.driver.regrouping import Formed
from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import Command, Inbox, Open, Pause
from hogwild_dist.engine.shard_runner import Listeners, ShardRunner
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import HogwildError, ShardError
from hogwild_dist.exchange.process_group import Membership, serve_store
from hogwild_dist.session.events import SessionEnd
from tests.exchange import grid
from tests.tiny_tokenizer import byte_tokenizer

HOST = "127.0.0.1"
TRANSFER = {
    "begin_copy": "begin",
    "read_pages": "read_pages",
    "write_pages": "write_pages",
    "save": "save",
}
"""What a shard that joins takes over, by the names that the driver has for it."""

POINTS = ("begin", "send_layer", "receive_layer", "post", "collect", "share", "join")
"""Methods of an exchange at whose call a fault can happen."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.shards"])


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one shard.

    Attributes:
        shard: index of the shard.
        point: method of the exchange.
        call: number of the call of this method, from 1 on.
        after: whether the fault follows the call, which then is complete.
        kind: signal that the process sends itself, "error" for an exception, or how the header that
            is sent next is spoilt: "damaged" or "wrong step".
    """

    shard: int
    point: str
    call: int
    after: bool = False
    kind: str = "SIGKILL"

    def strike(self, exchange: Any) -> None:
        if self.kind == "error":
            raise RuntimeError("a fault of the test")
        if self.kind in {"damaged", "wrong step"}:
            spoil_header(exchange, self.kind)
            return
        os.kill(os.getpid(), signal.Signals[self.kind])


def spoil_header(exchange: Any, how: str) -> None:
    """Send one header that peers cannot use."""
    write = exchange._write_header

    def once(stage: Any, report: Any) -> None:
        exchange._write_header = write
        write(stage, replace(report, step=report.step + (how == "wrong step")))
        if how == "damaged":
            stage.message[20] ^= 1

    exchange._write_header = once


def inject(exchange: Any, faults: Sequence[Fault]) -> None:
    """Make faults happen when methods of an exchange are called."""
    for point in {fault.point for fault in faults}:
        counts = itertools.count(1)
        method = getattr(exchange, point)

        def call(*arguments: Any, point=point, counts=counts, method=method) -> Any:
            number = next(counts)
            here = [one for one in faults if (one.point, one.call) == (point, number)]
            for fault in here:
                if not fault.after:
                    fault.strike(exchange)
            result = method(*arguments)
            for fault in here:
                if fault.after:
                    fault.strike(exchange)
            return result

        setattr(exchange, point, call)


def serve(pipe: Connection, place: Membership, visibility: Visibility, faults: list) -> None:
    """Be a shard: obey the test's calls, and send what happens."""
    torch.set_num_threads(1)
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock:
            pipe.send(message)

    inbox, runs = Inbox(), queue.SimpleQueue()
    runner = ShardRunner(
        grid.model(),
        byte_tokenizer(),
        grid.config(visibility),
        inbox=inbox,
        place=place,
        host=HOST,
        listeners=Listeners(
            publish=lambda publication: send("publication", publication),
            on_loss=lambda epoch, _: send("loss", epoch),
        ),
        audit=True,
    )
    inject(runner.exchange, faults)

    def answer(number: int, method: str, arguments: tuple) -> None:
        try:
            if method == "command":
                result = inbox.put(*arguments)
            elif method == "load_state":
                result = runner.load(*arguments)
            elif method in TRANSFER:
                result = getattr(runner.transfer, TRANSFER[method])(*arguments)
            elif method == "live":
                threading.Event().wait()
            elif method == "ended":
                result = runner.loop.checksums, runner.engine.num_free_pages
            else:
                result = getattr(runner, method)(*arguments)
            send("reply", number, result, None)
        except Exception as error:
            send("reply", number, None, error)

    def listen() -> None:
        while True:
            number, method, arguments = pipe.recv()
            if method in {"run", "ended"}:  # one after the other
                runs.put((number, method))
            else:
                threading.Thread(target=answer, args=(number, method, arguments)).start()

    threading.Thread(target=listen, daemon=True).start()
    send("ready")
    while True:
        answer(*runs.get(), ())


class Shard:
    """A shard, as its driver sees it."""

    def __init__(
        self, place: Membership, visibility: Visibility, faults: Sequence[Fault], group: "Group"
    ) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(
            target=serve, args=(theirs, place, visibility, list(faults)), daemon=True
        )
        self.process.start()
        theirs.close()
        self.group = group
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.numbers = itertools.count()
        self.ready: asyncio.Future[None] = asyncio.Future()
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, daemon=True).start()

    def call(self, method: str, *arguments: Any) -> asyncio.Future[Any]:
        """Call a method; an argument may be what another call returns."""
        return asyncio.ensure_future(self._call(method, *arguments))

    async def _call(self, method: str, *arguments: Any) -> Any:
        given = [await one if isinstance(one, asyncio.Future) else one for one in arguments]
        number = next(self.numbers)
        self.calls[number] = reply = asyncio.Future()
        try:
            self.pipe.send((number, method, given))
        except OSError as error:
            raise EOFError("the shard died") from error
        return await reply

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def _listen(self) -> None:
        """Pass on what the shard says; a thread of its own, since pipes know no event loop."""
        while True:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                message = ("death",)
            with contextlib.suppress(RuntimeError):  # the test is over
                self.loop.call_soon_threadsafe(self._hear, *message)
            if message == ("death",):
                return

    def _hear(self, what: str, *rest: Any) -> None:
        match what:
            case "ready":
                self.ready.set_result(None)
            case "reply":
                number, result, error = rest
                reply = self.calls.pop(number)
                if reply.cancelled():
                    return
                if error is None:
                    reply.set_result(result)
                else:
                    reply.set_exception(error)
            case "publication":
                self.group.show(rest[0])
            case "loss":
                self.group.recovery.lose_peers(rest[0], "a peer is lost")
            case "death":
                for reply in self.calls.values():
                    if not reply.done():
                        reply.set_exception(EOFError("the shard died"))


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
    """

    host = HOST

    def __init__(self, visibility: Visibility, timeout_seconds: float) -> None:
        self.visibility = visibility
        self.timeout = timeout_seconds
        self.epoch = 1
        self.members: list[Shard] = []
        self.everyone: list[Shard] = []
        self.store = serve_store(HOST)
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

    async def spare(self, *faults: Fault) -> Shard:
        """Start a shard in a group of its own."""
        self.stores.append(serve_store(HOST))
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

    def error_of(self, _: Shard, error: Exception) -> Exception:
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
    ) -> Shard:
        place = Membership(
            epoch=epoch,
            rank=rank,
            world_size=world,
            store_host=HOST,
            store_port=store.port,
            timeout_seconds=self.timeout,
        )
        shard = Shard(place, self.visibility, faults, self)
        self.everyone.append(shard)
        return shard

    def _go_on(self, formed: Formed[Shard], lost: list[Shard]) -> None:
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
) -> Played:
    """Play sessions on a shard for each sequence of faults."""

    async def run() -> Played:
        group = Group(visibility, timeout)
        try:
            await group.start(faults)
            return await group.play(commands, beside)
        finally:
            group.close()

    return asyncio.run(run())
