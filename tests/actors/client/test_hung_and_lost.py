"""A driver that hangs or is lost keeps nobody waiting, and its name can be used again."""

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from hogwild_dist.actors.client import calls, drivers, running_groups
from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.errors import ClusterError, LostError, NameTakenError, SilentError
from hogwild_dist.actors.settings import GroupSettings, ShardSettings, check_group_name
from hogwild_dist.deploy.cli.execution import ExecutionTarget
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings
from tests.actors import leftovers
from tests.actors.placement.test_cleanup import named, process

Settings = Callable[..., GroupSettings]


def test_a_stopped_driver_keeps_nobody_waiting(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch, hogwild
) -> None:
    before = leftovers.now()
    group = ShardGroup.start(settings(1), name="hung")
    pid = process("hung")
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(calls, "CALL_SECONDS", 1.0)
    monkeypatch.setattr(drivers, "STOP_SECONDS", 1.0)
    for ask in (
        group.sessions,
        group.status,
        lambda: group.cancel(1),
        lambda: group.follow(1),
        lambda: group.checksums(1),
        lambda: ShardGroup.attach("hung"),
    ):
        begun = time.monotonic()
        with pytest.raises(SilentError, match="has not answered for 1 s; try again later"):
            ask()
        assert time.monotonic() - begun < 10
    with pytest.raises(SilentError, match="later, or end it with `hogwild group stop hung`"):
        ShardGroup.attach("hung")
    with pytest.raises(NameTakenError, match="driver does not answer; end it with `hogwild group"):
        ShardGroup.start(settings(1), name="hung")
    asyncio.run(nobody_waits(AsyncShardGroup("hung")))
    monkeypatch.setattr(running_groups, "ANSWER_SECONDS", 1.0)
    assert re.search(r"hung +│ +│ +│ does not answer ", hogwild("group", "list").out)

    stopped = hogwild("group", "stop", "hung")
    assert stopped.code == 0, stopped.err
    assert leftovers.settles(before)


async def nobody_waits(group: AsyncShardGroup) -> None:
    asked: list[Awaitable[object]] = [
        group.load(), group.info(), group.sessions(), group.lease("one", 1.0), group.cancel(1)
    ]  # fmt: skip
    for call in asked:
        with pytest.raises(SilentError, match="has not answered for 1 s"):
            await call
    with pytest.raises(SilentError, match=r"has not answered for 2\.5 s"):
        await group.read(1, 0, 1.5)  # which the driver may hold


def test_a_lost_group_gives_its_name_away(
    cluster: Cluster, settings: Settings, hogwild, tiny_dir: Path, tmp_path: Path
) -> None:
    """It cannot come back, since its model is gone."""
    before, model = leftovers.now(), tmp_path / "model"
    shutil.copytree(tiny_dir, model)
    lost = ShardGroup.start(settings(1, model=model), name="lost")
    shutil.rmtree(model)
    os.kill(lost.group.shards[0].pid, signal.SIGKILL)
    assert leftovers.comes_true(lambda: is_lost("lost"))
    with pytest.raises(
        LostError,
        match=r"The group of shards is lost: .*; start it anew with `hogwild group start lost`, or "
        "end it with `hogwild group stop lost`",
    ):
        ShardGroup.attach("lost")
    told: list[str] = []
    shutil.copytree(tiny_dir, model)
    again = ShardGroup.start(settings(1, model=model), name="lost", tell=told.append)
    assert told[0] == "ending the lost group 'lost'"
    assert len(again.status()) == 1
    assert named("lost") == ["lost", "lost/shard-0"]
    with pytest.raises(NameTakenError, match="A group named 'lost' is already running"):
        ShardGroup.start(settings(1), name="lost")

    shutil.rmtree(model)
    os.kill(again.group.shards[0].pid, signal.SIGKILL)
    assert leftovers.comes_true(lambda: is_lost("lost"))
    assert re.search(r"lost +│ +│ +│ The group of shards is lost: ", hogwild("group", "list").out)
    refused = hogwild("group", "sessions", "lost")
    assert refused.code == 2
    assert "start it anew with `hogwild group start lost`" in refused.err
    stopped = hogwild("group", "stop", "lost")
    assert stopped.code == 0, stopped.err
    assert leftovers.settles(before)


def is_lost(name: str) -> bool:
    """Whether a group is known to be lost."""

    async def known() -> bool:
        try:
            await AsyncShardGroup(name).info()
        except LostError:
            return True
        except ClusterError:  # its shards are being started again
            return False
        return False

    return asyncio.run(known())


BAD_NAMES = ["", "a/b", "a/shard-0", "/a", "-a", ".a", "a b", "a\n", "x" * 65]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_group_can_have_is_refused(name: str) -> None:
    """Without a cluster: a slash would make a driver look like another group's shard."""
    for use in (
        check_group_name,
        ShardGroup.attach,
        AsyncShardGroup,
        drivers.end_group,
        lambda one: ExecutionTarget(load_settings=LoadSettings(), address="auto", name=one),
        lambda one: ExecutionTarget(load_settings=LoadSettings(), attach=one),
    ):
        with pytest.raises(ConfigError, match=r"The group name .* cannot be used; use 1 to 64"):
            use(name)


@pytest.mark.parametrize("name", ["a", "a-1", "lab.2", "Ünal", "_x", "x" * 64])
def test_other_names_are_fine(name: str) -> None:
    check_group_name(name)


@pytest.mark.parametrize("command", ["start", "sessions", "stop"])
def test_the_command_refuses_such_names_before_it_reaches_a_cluster(hogwild, command: str) -> None:
    done = hogwild("group", command, "a/shard-0", "--address", "127.0.0.1:1")
    assert done.code == 2
    assert "The group name 'a/shard-0' cannot be used" in done.err


def test_the_driver_of_a_group_is_found_or_named(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="No group named 'nobody' runs on this cluster; start"):
        drivers.end_group("nobody")


def test_the_sessions_of_a_group_with_a_journal_are_not_started_anew() -> None:
    kept = GroupSettings(num_shards=1, shard=ShardSettings(), journal="/shared/my journal")
    assert drivers.way_back("lab", kept) == (
        "bring its sessions back with `hogwild group restore lab --journal '/shared/my journal'`"
    )
