"""Commands that reach every shard, whatever becomes of the calls in which they are sent."""

import asyncio
import threading

import pytest
import ray
from ray.cluster_utils import Cluster

from actors.commander import Commander
from hogwild_dist.commands import Cancel, Command
from tests.actors.leftovers import comes_true

SENT = 20


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


class Sends:
    """In place of a driver: sends a command, and is not done before it is cancelled."""

    def __init__(self, listener: object) -> None:
        self._listener = listener
        self._commander = Commander(self, lambda error: None)
        self._begun = 0

    def send(self, method: str, *arguments: object) -> None:
        getattr(self._listener, method).remote(*arguments)

    async def ask(self) -> None:
        self._commander.send(Cancel(session=1))
        self._begun += 1
        await asyncio.Event().wait()

    async def begun(self) -> int:
        return self._begun


def test_a_command_outlives_the_call_that_sends_it(cluster: Cluster) -> None:
    listener = ray.remote(num_cpus=0, concurrency_groups={"control": 1})(Listens).remote()
    sender = ray.remote(Sends).options(num_cpus=0, max_concurrency=100).remote(listener)
    calls = [sender.ask.remote() for _ in range(SENT)]
    assert comes_true(lambda: ray.get(sender.begun.remote()) == SENT)
    for call in calls:
        ray.cancel(call)
    for call in calls:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(call)
    assert comes_true(lambda: len(ray.get(listener.heard.remote())) == SENT)
