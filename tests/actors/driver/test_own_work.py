"""What a driver does in the background: if it fails, the group is lost for that reason."""

import asyncio
import logging
import pickle
from collections.abc import Callable, Coroutine
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pytest

from hogwild_dist.actors.driver import driver as module
from hogwild_dist.actors.driver.driver import Driver
from hogwild_dist.actors.errors import ClusterError, EndedError, LostError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings
from hogwild_dist.actors.watched import watch
from hogwild_dist.deploy.service.errors import answer
from hogwild_dist.session.changes import RemoveWorker
from tests.actors.driver.test_journal import ORIGIN


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A driver without a cluster; its shards start at once."""
    monkeypatch.setattr(module, "write_structured", lambda **_: None)
    context = SimpleNamespace(current_actor=None)
    monkeypatch.setattr(module.ray, "get_runtime_context", lambda: context)
    made = Driver(GroupSettings(num_shards=1, shard=ShardSettings(model="none")), None)

    async def start(*_: object) -> None:
        pass

    async def run_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(made._shards, "start", start)
    monkeypatch.setattr(made._shards, "call", run_for_ever)
    return made


async def fails() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("part", ["_keeper.live.sender", "_lifecycle"])
def test_work_that_fails_loses_the_group(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    method = {"_keeper.live.sender": "keep_running", "_lifecycle": "watch"}[part]
    monkeypatch.setattr(attrgetter(part)(driver), method, fails)
    reason = (
        "The group's driver failed: ZeroDivisionError: division by zero; look for the details in "
        "its log."
    )

    async def lost() -> None:
        await driver.start()
        session = await driver.open(ORIGIN, recorded=False)
        updates, ended, error = await driver.read(session, 0, 10.0)
        assert (updates, ended, error) == ([], True, reason)
        with pytest.raises(ClusterError, match=f"The group of shards is lost: {reason}"):
            await driver.open(ORIGIN, recorded=False)
        driver._fail(ClusterError("Its shards are gone, too."))
        with pytest.raises(ClusterError, match=f"The group of shards is lost: {reason}"):
            await driver.info()
        await driver.stop()

    with caplog.at_level(logging.ERROR, logger="hogwild_dist.driver"):
        asyncio.run(lost())
    (line,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert line.getMessage() == f"the group is lost: {reason}"
    assert line.exc_info is not None


def test_a_group_that_was_stopped_is_not_lost_by_accident(driver: Driver) -> None:
    """Its name is free in a moment; until then clients may read how their sessions ended."""

    async def stopped() -> None:
        await driver.start()
        await driver.stop()
        with pytest.raises(ClusterError, match="the group was stopped") as caught:
            await driver.info()
        assert not isinstance(caught.value, LostError)

    asyncio.run(stopped())


@pytest.mark.parametrize(
    ("work", "heard"),
    [
        (fails, ["ZeroDivisionError"]),
        (lambda: asyncio.sleep(0), []),
        (lambda: asyncio.sleep(60), []),
    ],
    ids=["fails", "ends", "is cancelled"],
)
def test_only_a_failure_is_heard(
    work: Callable[[], Coroutine[Any, Any, None]], heard: list[str]
) -> None:
    errors: list[str] = []

    async def run() -> None:
        task = asyncio.create_task(work())
        watch(task, lambda error: errors.append(type(error).__name__))
        await asyncio.wait([task], timeout=0.1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(run())
    assert errors == heard


def test_a_session_that_has_ended_meanwhile_is_a_conflict(driver: Driver) -> None:
    """The service has looked before whether it runs."""

    async def run() -> None:
        await driver.start()
        session = await driver.open(ORIGIN, recorded=False)
        driver._journal.fail("lost")
        with pytest.raises(EndedError, match="has ended; nothing can be changed") as caught:
            await driver.apply_change(session, RemoveWorker(name="Ann"))
        assert answer(pickle.loads(pickle.dumps(caught.value))).status_code == 409
        await driver.stop()

    asyncio.run(run())
