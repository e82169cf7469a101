"""What is done whatever becomes of the call that asks for it."""

import asyncio
import threading

import pytest
import ray
from ray.cluster_utils import Cluster

from hogwild_dist.actors.detached import DetachedContext
from hogwild_dist.actors.driver.command_sender import CommandSender
from hogwild_dist.engine.commands import Cancel, Command
from tests.actors.leftovers import comes_true

ASKED = 20


class Listens:
    """In place of a shard: takes commands in one by one, from when it may."""

    def __init__(self) -> None:
        self._may = threading.Event()
        self._heard: list[int] = []

    @ray.method(concurrency_group="control")
    def command(self, number: int, command: Command) -> None:
        self._may.wait()
        self._heard.append(number)

    def heard(self) -> list[int]:
        self._may.set()
        return self._heard


class Asks:
    """In place of a driver or an ingress: its calls are not done before they are cancelled."""

    def __init__(self, listener: object) -> None:
        self._listener = listener
        self._command_sender = CommandSender(self, lambda error: None)
        self._detached = DetachedContext()
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = 0

    def send(self, method: str, *arguments: object) -> None:
        getattr(self._listener, method).remote(*arguments)

    async def command(self) -> None:
        self._command_sender.send(Cancel(session=1))
        self._begun += 1
        await asyncio.Event().wait()

    async def task(self) -> None:
        self._tasks.append(self._detached.task(self._call(len(self._tasks) + 1)))
        await asyncio.Event().wait()

    async def _call(self, number: int) -> None:
        reference = self._listener.command.remote(number, Cancel(session=1))
        self._begun += 1
        await reference

    async def begun(self) -> int:
        return self._begun


@pytest.mark.parametrize("what", ["command", "task"])
def test_it_outlives_the_call(cluster: Cluster, what: str) -> None:
    listener = ray.remote(num_cpus=0, concurrency_groups={"control": 1})(Listens).remote()
    asker = ray.remote(Asks).options(num_cpus=0, max_concurrency=100).remote(listener)
    calls = [getattr(asker, what).remote() for _ in range(ASKED)]
    assert comes_true(lambda: ray.get(asker.begun.remote()) == ASKED)
    for call in calls:
        ray.cancel(call)
    for call in calls:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(call)
    assert comes_true(lambda: len(ray.get(listener.heard.remote())) == ASKED)
