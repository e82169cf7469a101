"""Shards join and leave a running group, by hand and in place of lost ones; no token changes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from hogwild_dist import LAYOUTS, Engine, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.session.events import Event
from tests.actors import leftovers
from tests.actors.client.test_shard_group import replays, team
from tests.actors.cluster import STORE_BYTES
from tests.actors.test_trouble import one_process
from tests.tiny_team import BREAKS
from tests.tiny_tokenizer import EOS

LONG = replace(
    team(3, LAYOUTS["combined"], max_tokens=1_000),
    sampling=replace(BREAKS, forbidden_ids=(EOS,)),
)
"""It writes for longer than a shard takes to start."""

Settings = Callable[..., GroupSettings]


@pytest.fixture(scope="module")
def engine(settings: Settings, tiny_dir: Path) -> Engine:
    return one_process(settings(), tiny_dir)


@pytest.fixture(scope="module")
def undisturbed(engine: Engine) -> list[Event]:
    """What the team writes in one process."""
    return list(Run(engine, "Count!", LONG))


def beside(run: Run, job: Callable[[], object]) -> Iterator[Event]:
    """The events of a run, with a job that begins after the first ones; its error is raised."""
    with ThreadPoolExecutor(1) as pool:
        for number, event in enumerate(run):
            if number == 30:
                done = pool.submit(job)
            yield event
        done.result()


def test_a_group_grows_and_shrinks_under_a_session(
    settings: Settings, engine: Engine, undisturbed: list[Event], tmp_path: Path
) -> None:
    before, trace, told, running = leftovers.now(), tmp_path / "run.json", [], []
    with ShardGroup.start(settings(2)) as group:

        def scale() -> None:
            running.append(group.scale(4, told.append))
            running.append(group.scale(1))
            running.append([one.end_reason for one in group.sessions()])

        assert list(beside(Run(group, "Count!", LONG, trace), scale)) == undisturbed
        grown, shrunk, reasons = running
        assert (len(grown.shards), len(shrunk.shards)) == (4, 1)
        assert reasons == [None], "the session has ended before the group was scaled"
        assert [line for line in told if "loading" in line]
        replays(trace, engine.model)
        assert {status.num_pages - status.free_pages for status in group.status()} == {0}
    assert leftovers.settles(before)


def test_a_lost_shard_is_replaced(settings: Settings, undisturbed: list[Event]) -> None:
    before = leftovers.now()
    with ShardGroup.start(settings(3)) as group:
        first = group.group.shards

        def kill() -> None:
            os.kill(first[1].pid, signal.SIGKILL)
            assert leftovers.comes_true(lambda: group.group.epoch == 3)

        assert list(beside(Run(group, "Count!", LONG), kill)) == undisturbed
        now = group.group
        assert (now.epoch, len(now.shards)) == (3, 3)
        assert first[1].pid not in {shard.pid for shard in now.shards}
        for shard in now.shards[:2]:
            os.kill(shard.pid, signal.SIGKILL)
        assert list(Run(group, "Count!", LONG)) == undisturbed  # on the one that came last
    assert leftovers.settles(before)


def test_what_cannot_be_is_refused_in_one_sentence(settings: Settings) -> None:
    with ShardGroup.start(settings(1)) as group:
        with pytest.raises(ConfigError, match="shards is 0; it must be from 1 to 64"):
            group.scale(0)
        with pytest.raises(
            ClusterError,
            match=r"8 further shards with 1 CPU each were requested, but 7 fit .*; end other work "
            "there, or add nodes",
        ):
            group.scale(9)
        answers: list[HogwildError | None] = []

        def scale() -> None:
            try:
                group.scale(2)
                answers.append(None)
            except HogwildError as error:
                answers.append(error)

        threads = [threading.Thread(target=scale) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (refused,) = [one for one in answers if one is not None]
        assert "shards are being changed" in str(refused)
        assert len(group.group.shards) == 2
    with (
        ShardGroup.start(settings(1, Visibility.OVERLAPPED)) as group,
        pytest.raises(ConfigError, match="cannot join or leave a group with overlapped"),
    ):
        group.scale(2)


def test_a_group_moves_to_new_processes(settings: Settings, undisturbed: list[Event]) -> None:
    before = leftovers.now()
    with ShardGroup.start(settings(2)) as group:
        first = {shard.pid for shard in group.group.shards}
        told: list[str] = []
        assert list(beside(Run(group, "Count!", LONG), lambda: group.renew(told.append))) == (
            undisturbed
        )
        now = group.group
        assert (now.epoch, len(now.shards)) == (3, 2)
        assert not first & {shard.pid for shard in now.shards}
    assert leftovers.settles(before)


@pytest.mark.parametrize("room", [True, False], ids=["room elsewhere", "no room elsewhere"])
def test_shards_leave_a_node_that_is_drained(
    room: bool, cluster: Cluster, settings: Settings, undisturbed: list[Event]
) -> None:
    before = leftovers.now()
    node = cluster.add_node(num_cpus=3, object_store_memory=STORE_BYTES)
    extra = [node]
    try:
        with ShardGroup.start(settings(3, cpus_per_shard=3.0)) as group:  # a shard on each node
            if room:
                extra.append(cluster.add_node(num_cpus=3, object_store_memory=STORE_BYTES))

            def drain() -> None:
                drain_node(cluster.address, node.node_id)
                assert leftovers.comes_true(lambda: group.group.epoch == 2)

            assert list(beside(Run(group, "Count!", LONG), drain)) == undisturbed
            now = group.group
            assert len(now.shards) == 2 + room
            assert node.node_id not in {shard.node_id for shard in now.shards}
    finally:
        for one in extra:
            cluster.remove_node(one)
    assert leftovers.settles(before)


def drain_node(address: str, node: str) -> None:
    """Say that a node will be reclaimed, as a cloud does of a spot instance."""
    about = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test")
    seconds = ("--deadline-remaining-seconds", "60")
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "drain-node", "--address", address, "--node-id", node, *about, *seconds]
    subprocess.run(command, check=True, capture_output=True)
