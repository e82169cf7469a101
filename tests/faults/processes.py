"""Shards in processes of their own, without Ray, and what their driver calls them by."""

import asyncio
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.commands import Inbox
from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.shard_runner import Listeners, ShardRunner
from hogwild_dist.environment import quieten_torch
from hogwild_dist.exchange.process_group import Membership
from hogwild_dist.model.loaded_model import LoadedModel
from tests.tiny_tokenizer import byte_tokenizer

HOST = "127.0.0.1"
TRANSFER = {
    "begin_copy": "begin",
    "read_pages": "read_pages",
    "write_pages": "write_pages",
    "save": "save",
}
"""What a shard that joins takes over, by the names that the driver has for it."""

MOST_UNANSWERED = 128
"""Publications that may be on their way to the driver."""

quieten_torch()  # of the fork server, which inherits it
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.processes"])


@dataclass(frozen=True, slots=True)
class Home:
    """Where a shard lives.

    Attributes:
        address: its address as peers see it.
        namespace: file of a network namespace, or empty for that of the test.
    """

    address: str = HOST
    namespace: str = ""

    def enter(self) -> None:
        """Move this process, which has one thread, into the namespace."""
        if self.namespace:
            with open(self.namespace) as file:
                failed = ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0)
            if failed:
                raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")


def forkserver_address() -> str:
    """Start the fork server, and return its address."""
    forkserver.ensure_running()
    address: str = forkserver._forkserver._forkserver_address  # type: ignore[attr-defined]
    return address


def use_forkserver(address: str) -> None:
    """Start processes by the fork server of another process, which has imported everything."""
    forkserver._forkserver._forkserver_address = address  # type: ignore[attr-defined]
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]


def serve(
    pipe: Connection,
    place: Membership,
    new_model: Callable[[], LoadedModel],
    config: EngineConfig,
    inject: Callable[[ShardRunner], None],
    home: Home = Home(),
) -> None:
    """Be a shard: obey the driver's calls, and tell it what happens; end when it does."""
    home.enter()
    torch.set_num_threads(1)
    lock, unanswered = threading.Lock(), threading.Semaphore(MOST_UNANSWERED)

    def send(*message: Any) -> None:
        with lock:
            pipe.send(message)

    def publish(publication: Publication) -> None:
        unanswered.acquire()
        send("publication", publication)

    inbox, runs = Inbox(), queue.SimpleQueue()
    runner = ShardRunner(
        new_model(),
        byte_tokenizer(),
        config,
        inbox=inbox,
        place=place,
        host=home.address,
        listeners=Listeners(publish=publish, on_loss=lambda epoch, _: send("loss", epoch)),
        audit=True,
    )
    inject(runner)

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
        except OSError:
            os._exit(1)  # the driver is gone
        except Exception as error:
            send("reply", number, None, error)

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, method, arguments = pipe.recv()
                if method == "published":
                    unanswered.release()
                elif method == "command":  # in the order in which they were sent
                    answer(number, method, arguments)
                elif method in {"run", "ended"}:  # one after the other
                    runs.put((number, method))
                else:
                    threading.Thread(target=answer, args=(number, method, arguments)).start()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    send("ready")
    while True:
        answer(*runs.get(), ())


class Process:
    """A process that is called over a pipe, as an actor is.

    Args:
        target: what it does, given its end of the pipe and the arguments.
        arguments: further arguments.
        hear: called with everything that it says without being asked.
    """

    def __init__(
        self,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        hear: Callable[..., None],
        *,
        daemon: bool = True,
    ) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=target, args=(theirs, *arguments), daemon=daemon)
        self.process.start()
        theirs.close()
        self.info = SimpleNamespace(node=HOST, node_id="", replayed_with={})
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.numbers = itertools.count()
        self.ready: asyncio.Future[None] = asyncio.Future()
        self.dead = asyncio.Event()
        self._hear_more = hear
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, daemon=True).start()

    def call(self, method: str, *arguments: Any) -> asyncio.Future[Any]:
        """Call a method; an argument may be what another call returns."""
        return asyncio.ensure_future(self._call(method, *arguments))

    def tell(self, method: str) -> None:
        """Say something that has no answer."""
        with contextlib.suppress(OSError):
            self.pipe.send((None, method, ()))

    async def _call(self, method: str, *arguments: Any) -> Any:
        given = [await one if isinstance(one, asyncio.Future) else one for one in arguments]
        if self.dead.is_set():
            raise EOFError("the process died")
        number = next(self.numbers)
        self.calls[number] = reply = asyncio.Future()
        try:
            self.pipe.send((number, method, given))
        except OSError as error:
            raise EOFError("the process died") from error
        return await reply

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def _listen(self) -> None:
        """Pass on what the process says; a thread of its own, since pipes know no event loop."""
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
            case "death":
                self.dead.set()
                for reply in [self.ready, *self.calls.values()]:
                    if not reply.done():
                        reply.set_exception(EOFError("the process died"))
                        reply.exception()  # somebody may have left
            case _:
                self._hear_more(what, *rest)
