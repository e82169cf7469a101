"""Adapters of groups: which group they adopt, and that they notice when another has it."""

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.driver.durable_log import log_url
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.driver.log.records import Forgotten, encode
from hogwild_dist.actors.errors import (
    ClusterError,
    GoneError,
    LogError,
    LostError,
    NameTakenError,
)
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.actors.shard.info import Load
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.replicas import group_replica
from hogwild_dist.deploy.service.replicas.group_replica import GroupReplica
from tests.actors import leftovers
from tests.actors.driver.log.test_state import END, WORD, opened, shown


class Adapter(GroupReplica):
    """One that no Serve looks after: it is ended by `GroupReplica.__del__` where a test says so."""

    def __del__(self) -> None:
        """Nothing."""


async def adapter(config: ServiceConfig) -> Adapter:
    made = Adapter.__new__(Adapter)
    await made.__init__(config)  # as Serve does
    return made


def take_over() -> None:
    """Claim the group once its adapter's lease is over; this event loop hangs until then."""
    driver = ray.get_actor("claimed-0", namespace=NAMESPACE)
    while ray.get(driver.lease.remote("another", 60.0)):
        time.sleep(0.05)


async def unhealthy(one: Adapter) -> None:
    while True:
        await one.check_health()
        await asyncio.sleep(0.05)


def test_adapters_hold_groups_of_their_own_settings(
    cluster: Cluster, roomy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogwild_dist.deploy.service.replicas.group_replica.LEASE_SECONDS", 1.0)
    monkeypatch.setattr(
        "hogwild_dist.deploy.service.replicas.group_replica.write_structured", lambda **_: None
    )
    config = ServiceConfig(
        name="claimed", model=str(roomy_dir), dtype="float64", threads=1, cache_tokens=8_192
    )
    before = leftovers.now()
    asyncio.run(held_and_adopted(config))
    assert leftovers.settles(before)


async def held_and_adopted(config: ServiceConfig) -> None:
    first = await adapter(config)
    await first.check_health()
    take_over()
    with pytest.raises(ClusterError, match="claimed-0 is ending, or another replica manages it"):
        await asyncio.wait_for(unhealthy(first), 20.0)
    await GroupReplica.__del__(first)
    group = AsyncShardGroup("claimed-0")
    assert (await group.load()).ready  # it does not retire
    await group.lease("another", 0.0)  # which lets go of it
    second = await adapter(config)
    assert second._group.name == group.name
    assert (await second._group.load()).ready  # as a new group would not be yet
    idle = Adapter.__new__(Adapter)
    idle._config, idle._id = config, "idle"
    assert await idle._adopt() is None  # the only group has somebody who looks after it
    await group.lease(second._id, 1.0)
    second._lease_task.cancel()  # it dies, and its heir comes before the lease has run out
    heir = await adapter(config)
    assert heir._group.name == group.name
    heir._lease_task.cancel()
    take_over()
    await group.lease("another", 0.0)
    engine = replace(config.load_settings.engine, cache_tokens=16_384)
    wider = config.model_copy(
        update={"load_settings": replace(config.load_settings, engine=engine)}
    )
    third = await adapter(wider)
    assert (await third._group.info()).settings == wider.group_settings()
    with pytest.raises(ClusterError, match="died"):
        await group.load()
    await third._group.end()


class Lost:
    """A group that fails for a reason."""

    name = "claimed-0"

    def __init__(self, error: ClusterError) -> None:
        self.error = error

    async def probe(self, request: object, seconds: float) -> None:
        raise self.error

    async def load(self) -> Load:
        raise self.error

    async def retire(self, seconds: float) -> None:
        raise self.error


class Works(Lost):
    """A group that writes tokens."""

    def __init__(self) -> None:
        self.num_probed = 0

    async def probe(self, request: object, seconds: float) -> None:
        self.num_probed += 1


class Starts(Adapter):
    """Starts what a test says."""

    def __init__(self, group: Lost, another: Works | ClusterError) -> None:
        self._config, self._probe_request = ServiceConfig(), None
        self._group, self._another = group, another
        self._leased, self._lease_task, self._restart = True, None, None
        self.may_start = asyncio.Event()

    async def _start(self, first: str) -> Works:
        assert first == "claimed-0"  # whose sessions were running
        await self.may_start.wait()
        if isinstance(self._another, ClusterError):
            raise self._another
        return self._another


@pytest.mark.parametrize("error", [GoneError("It died."), LostError("No shard is left.")])
def test_another_group_takes_the_place_of_one_that_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: ClusterError
) -> None:
    """Its loss is told once; meanwhile Serve is told of no fault."""
    monkeypatch.setattr(group_replica, "READABLE_SECONDS", 0.0)

    async def run() -> None:
        replica = Starts(Lost(error), Works())
        for _ in range(3):
            await replica.check_health()
        assert await replica.record_autoscaling_stats() == {"sessions": 0.0}
        replica.may_start.set()
        await asyncio.wait_for(replica._restart, 20.0)
        assert replica._group.num_probed == 1
        await replica.check_health()
        assert replica._group.num_probed == 2

    with caplog.at_level(logging.WARNING, "hogwild_dist.service"):
        asyncio.run(run())
    assert caplog.messages == [f"claimed-0 is lost, and started again: {error}"]


def test_serve_replaces_a_replica_that_can_start_no_other_group() -> None:
    async def run() -> None:
        replica = Starts(Lost(GoneError("It died.")), ClusterError("There is no room."))
        await replica.check_health()
        replica.may_start.set()
        await asyncio.wait([replica._restart])
        for _ in range(3):
            with pytest.raises(ClusterError, match="There is no room"):
                await replica.check_health()
        await GroupReplica.__del__(replica)  # although there is nobody to retire
        with pytest.raises(ClusterError, match="claimed-0 is ending"):
            await replica.check_health()

    asyncio.run(run())


class Leased:
    """A group that can be leased."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def lease(self, holder: str, seconds: float) -> float:
        return 0.0


def started(
    monkeypatch: pytest.MonkeyPatch,
    journal: Path,
    outcomes: dict[str, Exception],
    first: str = "",
) -> list[str]:
    """Names under which a replica tries to start a group, until it has one."""
    tried: list[str] = []

    def start(settings: object, *, name: str, tell: object) -> None:
        tried.append(name)
        if name in outcomes:
            raise outcomes[name]

    def running(name: str) -> Leased:
        if name not in tried and not isinstance(outcomes.get(name), NameTakenError):
            raise GoneError("There is none.")
        return Leased(name)

    monkeypatch.setattr(group_replica.ShardGroup, "start", start)
    monkeypatch.setattr(group_replica, "AsyncShardGroup", running)
    replica = Adapter.__new__(Adapter)
    replica._id = "one"
    replica._config = ServiceConfig(name="kept", journal=str(journal), scale={"max_groups": 2})
    asyncio.run(replica._start(first))
    return tried


def test_a_group_is_started_where_sessions_are_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert started(monkeypatch, tmp_path, {}) == ["kept-0"]
    for name, *records in (
        ("kept-1", opened(1), shown(1, END)),
        ("kept-2", opened(1), shown(1, WORD)),
        ("kept-3", opened(1), Forgotten(sessions=(1,))),
    ):
        files = LogFiles(log_url(str(tmp_path), name))
        files.append(b"".join(map(encode, records)))
        files.close()
    assert started(monkeypatch, tmp_path, {}) == ["kept-2"]
    assert started(monkeypatch, tmp_path, {}, first="kept-1") == ["kept-1"]
    taken = {"kept-2": NameTakenError("It runs."), "kept-0": NameTakenError("It runs.")}
    assert started(monkeypatch, tmp_path, taken) == ["kept-0", "kept-1"]


def test_a_journal_that_cannot_be_gone_on_with_is_left_to_a_person(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts in another place, and says why."""
    folder = tmp_path / "kept-0"
    folder.mkdir()
    (folder / "000001.log").write_text("no log at all, but long enough")
    other = LogError("The sessions in it were written with dtype half.")
    assert started(monkeypatch, tmp_path, {"kept-0": other}) == ["kept-0", "kept-1"]
    assert f"kept-0 is not started: {other}" in caplog.messages
    everywhere = {f"kept-{slot}": other for slot in range(6)}
    with pytest.raises(LogError, match="written with dtype half"):
        started(monkeypatch, tmp_path, everywhere)


def test_a_replica_that_no_longer_renews_its_lease_is_unhealthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hogwild_dist.deploy.service.replicas.group_replica.LEASE_SECONDS", 0.1)

    class Group:
        name = "claimed-0"

        async def lease(self, holder: str, seconds: float) -> float:
            raise ZeroDivisionError

    async def renew() -> None:
        one = Adapter.__new__(Adapter)
        one._group, one._id, one._leased = Group(), "one", True
        one._keep_leased()
        await asyncio.wait([one._lease_task])
        with pytest.raises(ClusterError, match="claimed-0 is ending, or another replica"):
            await one.check_health()

    asyncio.run(renew())
