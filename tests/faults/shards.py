"""Shards in processes of their own, without Ray, that die or stop at named points.

The test is their driver: it sends commands, and regroups them with the driver's own protocol.
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
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.regrouping import regroup
from hogwild_dist.config import Visibility
from hogwild_dist.engine.commands import Command, Inbox
from hogwild_dist.engine.shard_runner import Listeners, ShardRunner
from hogwild_dist.engine.updates import Update
from hogwild_dist.exchange.process_group import Membership, serve_store
from tests.exchange import grid
from tests.tiny_tokenizer import byte_tokenizer

HOST = "127.0.0.1"
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
            if method == "run":
                runs.put(number)
            else:
                threading.Thread(target=answer, args=(number, method, arguments)).start()

    threading.Thread(target=listen, daemon=True).start()
    send("ready")
    while True:
        answer(runs.get(), "run", ())


class Shard:
    """A shard, as the test sees it."""

    def __init__(self, place: Membership, visibility: Visibility, faults: list[Fault]) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(
            target=serve, args=(theirs, place, visibility, faults), daemon=True
        )
        self.process.start()
        theirs.close()
        self.calls: dict[int, Future[Any]] = {}
        self.numbers = itertools.count()
        self.lock = threading.Lock()

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        reply: Future[Any] = Future()
        with self.lock:
            number = next(self.numbers)
            self.calls[number] = reply
            try:
                self.pipe.send((number, method, arguments))
            except OSError as error:
                reply.set_exception(error)
        return reply

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.join()


@dataclass(slots=True)
class Played:
    """What readers saw, and what is left at the end."""

    updates: list[Update] = field(default_factory=list)
    checksums: list[dict[int, dict[str, int]]] = field(default_factory=list)
    free_pages: list[int] = field(default_factory=list)
    epoch: int = 1
    num_shards: int = 0


class Group:
    """Plays sessions on shards with faults.

    Args:
        num_shards: number of shards.
        visibility: visibility of the group.
        faults: what goes wrong.
        timeout_seconds: time limit of a collective.
    """

    def __init__(
        self,
        num_shards: int,
        visibility: Visibility,
        faults: Sequence[Fault],
        timeout_seconds: float = 10.0,
    ) -> None:
        self.timeout = timeout_seconds
        self.store = serve_store(HOST)
        self.publications = Publications()
        self.played = Played()
        self.events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.members: list[Shard] = []
        for rank in range(num_shards):
            place = Membership(
                epoch=1,
                rank=rank,
                world_size=num_shards,
                store_host=HOST,
                store_port=self.store.port,
                timeout_seconds=timeout_seconds,
            )
            mine = [fault for fault in faults if fault.shard == rank]
            shard = Shard(place, visibility, mine)
            self.members.append(shard)
        for shard in self.members:
            threading.Thread(target=self._listen, args=(shard,), daemon=True).start()

    def play(self, commands: Sequence[Command], on_regroup: Callable[[], None] = lambda: None):
        """Run the shards until they have carried out all commands; regroup them as they fall."""
        for _ in self.members:
            assert self.events.get(timeout=60)[1] == "ready"
        for number, command in enumerate(commands, start=1):
            for shard in self.members:
                shard.call("command", number, command)
        runs = self._run()
        while not all(run.done() for run in runs.values()) or self._applied(runs) < len(commands):
            shard, what, epoch = self.events.get(timeout=60)
            if what == "loss" and epoch < self.played.epoch:
                continue
            if what in {"loss", "death"} and shard in self.members:
                if what == "death":
                    shard.kill()
                self._regroup()
                on_regroup()
                runs = {s: run for s, run in runs.items() if s in self.members}
            if all(run.done() for run in runs.values()):
                runs = self._run()
        self.played.num_shards = len(self.members)
        for shard in self.members:
            checksums, free = shard.call("ended").result(30)
            self.played.checksums.append(checksums)
            self.played.free_pages.append(free)
        return self.played

    def close(self) -> None:
        for shard in self.members:
            shard.kill()

    def _run(self) -> dict[Shard, Future[Any]]:
        runs = {shard: shard.call("run") for shard in self.members}
        for shard, run in runs.items():
            run.add_done_callback(partial(self._ran, shard))
        return runs

    def _ran(self, shard: Shard, run: Future[Any]) -> None:
        self.events.put((shard, "death" if run.exception() else "ran", None))

    def _applied(self, runs: dict[Shard, Future[Any]]) -> int:
        return min(run.result() for run in runs.values())

    def _regroup(self) -> None:
        async def call(shard: Shard, method: str, *arguments: Any) -> Any:
            return await asyncio.wrap_future(shard.call(method, *arguments))

        formed = asyncio.run(
            regroup(
                self.members,
                call,
                ranks={shard: rank for rank, shard in enumerate(self.members)},
                epoch=self.played.epoch,
                publications=self.publications,
                host=HOST,
                timeout_seconds=self.timeout,
            )
        )
        for shard in set(self.members) - set(formed.members):
            shard.kill()
        self.played.epoch, self.store = formed.epoch, formed.store
        self.members = list(formed.members)

    def _listen(self, shard: Shard) -> None:
        while True:
            try:
                what, *rest = shard.pipe.recv()
            except (EOFError, OSError):
                self.events.put((shard, "death", None))
                for reply in shard.calls.values():
                    if not reply.done():
                        reply.set_exception(EOFError("the shard died"))
                return
            if what == "reply":
                number, result, error = rest
                reply = shard.calls.pop(number)
                if error is None:
                    reply.set_result(result)
                else:
                    reply.set_exception(error)
            elif what == "publication":
                for updates in self.publications.put(rest[0]):
                    self.played.updates += updates
            else:
                self.events.put((shard, what, rest[0] if rest else None))
