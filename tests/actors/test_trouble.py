"""What goes wrong on a cluster is one sentence, keeps the text, and leaves nothing running."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from hogwild_dist import LAYOUTS, Engine, Run
from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.config import ExchangeBackend, Visibility
from hogwild_dist.errors import ConfigError, ModelError, SessionError
from hogwild_dist.model.loader import load_model, load_tokenizer
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.session.events import Event
from hogwild_dist.team.session_request import SessionRequest
from tests.actors import leftovers
from tests.actors.client.test_shard_group import replays, team

Settings = Callable[..., GroupSettings]
pytestmark = pytest.mark.usefixtures("cluster")


def watch_and_kill(run: Run, pid: int, how: int = signal.SIGKILL) -> list[Event]:
    seen = []
    for event in run:
        seen.append(event)
        if len(seen) == 30:
            os.kill(pid, how)
    return seen


def one_process(settings: GroupSettings, model: Path) -> Engine:
    """What shards of these settings are compared with."""
    return Engine(
        load_model(model, dtype="float64", device="cpu"),
        load_tokenizer(model),
        settings.shard.engine,
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"num_shards": 9},
            "9 shards with 1 CPU each were requested, but 8 fit in the free capacity",
        ),
        ({"cpus_per_shard": 4.0}, "2 shards with 4 CPUs each were requested, but 0 fit"),
        ({"gpus_per_shard": 1}, "2 shards with 1 CPU and 1 GPU each were requested, but 0 fit"),
    ],
)
def test_a_cluster_that_is_too_small_says_so_at_once(
    fields: dict[str, float], sentence: str, settings: Settings
) -> None:
    before = leftovers.now()
    with pytest.raises(ClusterError, match=sentence):
        ShardGroup.start(settings(**fields))
    assert leftovers.settles(before)


def test_waiting_for_nodes_ends_with_the_same_sentence(settings: Settings) -> None:
    before, told = leftovers.now(), []
    with pytest.raises(ClusterError, match="9 shards with 1 CPU each were requested, but 8 fit"):
        ShardGroup.start(settings(num_shards=9, wait_seconds=6.0), tell=told.append)
    assert any(line.startswith("waiting for free resources for 9 shards") for line in told)
    assert leftovers.settles(before)


def test_an_unknown_model_names_the_node(settings: Settings) -> None:
    before = leftovers.now()
    with pytest.raises(ModelError, match=r"On node [\d.]+: There is no model './no/such'"):
        ShardGroup.start(settings(model="./no/such"))
    assert leftovers.settles(before)


def test_a_library_that_the_device_cannot_use_names_the_node(settings: Settings) -> None:
    before, chosen = leftovers.now(), settings(1)
    engine = replace(chosen.shard.engine, exchange_backend=ExchangeBackend.NCCL)
    with pytest.raises(ConfigError, match=r"On node [\d.]+: exchange_backend is nccl"):
        ShardGroup.start(replace(chosen, shard=replace(chosen.shard, engine=engine)))
    assert leftovers.settles(before)


def test_a_shard_without_memory_for_its_cache_names_the_node(settings: Settings) -> None:
    before = leftovers.now()
    with pytest.raises(ConfigError, match=r"On node [\d.]+: .* tokens"):
        ShardGroup.start(settings(1, cache_tokens=2**40))
    assert leftovers.settles(before)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "no-such-host.invalid:6379"], ids=["closed port", "unknown host"]
)
def test_an_address_where_no_ray_answers_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=f"No Ray cluster answers at '{address}'"),
        connected(address),
    ):
        pass


@pytest.mark.parametrize(
    ("visibility", "shard"), [(Visibility.SAME_STEP, 0), (Visibility.NEXT_STEP, 1)]
)
def test_a_dead_shard_costs_no_token(
    visibility: Visibility, shard: int, settings: Settings, tiny_dir: Path, tmp_path: Path
) -> None:
    """Killed while a session runs, and then another while nothing runs."""
    before, trace = leftovers.now(), tmp_path / "run.json"
    a_team = team(3, LAYOUTS["combined"], max_tokens=60)
    chosen = settings(3, visibility)
    engine = one_process(chosen, tiny_dir)
    undisturbed = list(Run(engine, "Count!", a_team))
    with ShardGroup.start(chosen) as group:
        run = Run(group, "Count!", a_team, trace)
        assert watch_and_kill(run, group.group.shards[shard].pid) == undisturbed
        replays(trace, engine.model)
        os.kill(group.group.shards[0].pid, signal.SIGKILL)
        assert list(Run(group, "Count!", a_team)) == undisturbed
        assert {status.num_pages - status.free_pages for status in group.status()} == {0}
    assert leftovers.settles(before)


def test_a_hung_shard_costs_no_token_and_holds_nobody_up(
    settings: Settings, tiny_dir: Path
) -> None:
    before, a_team = leftovers.now(), team(3, LAYOUTS["combined"], max_tokens=60)
    chosen = settings(3, timeout_seconds=5.0)
    engine = one_process(chosen, tiny_dir)
    undisturbed = list(Run(engine, "Count!", a_team))
    with ShardGroup.start(chosen) as group:
        hung = group.group.shards[2].pid
        assert watch_and_kill(Run(group, "Count!", a_team), hung, signal.SIGSTOP) == undisturbed
        assert list(Run(group, "Count!", a_team)) == undisturbed
        assert hung not in {shard.pid for shard in group.group.shards}
    assert leftovers.settles(before)


@pytest.mark.parametrize("visibility", Visibility)
def test_sessions_outlive_all_shards(
    visibility: Visibility, settings: Settings, tiny_dir: Path, tmp_path: Path
) -> None:
    """Others are started, and the sessions are replayed there; a lost shard takes all with it
    where a step is in flight while the next one computes."""
    before, trace = leftovers.now(), tmp_path / "run.json"
    a_team = team(3, LAYOUTS["combined"], max_tokens=60)
    chosen = settings(2 if visibility is Visibility.OVERLAPPED else 1, visibility)
    engine = one_process(chosen, tiny_dir)
    undisturbed = list(Run(engine, "Count!", a_team))
    with ShardGroup.start(chosen) as group:
        run = Run(group, "Count!", a_team, trace)
        assert watch_and_kill(run, group.group.shards[0].pid) == undisturbed
        replays(trace, engine.model)
        assert list(Run(group, "Count!", a_team)) == undisturbed
        assert {status.num_pages - status.free_pages for status in group.status()} == {0}
    assert leftovers.settles(before)


def test_a_group_that_cannot_come_back_keeps_the_text_and_says_what_died(
    settings: Settings, tiny_dir: Path, tmp_path: Path
) -> None:
    before, trace = leftovers.now(), tmp_path / "run.json"
    model = shutil.copytree(tiny_dir, tmp_path / "model")
    group = ShardGroup.start(settings(1, model=model))
    run = Run(group, "Count!", team(3, LAYOUTS["combined"], max_tokens=3_000), trace)
    shutil.rmtree(model)
    with pytest.raises(
        ClusterError,
        match=r"Session 1 was lost: Shard 0 on node [\d.]+ died: .* No other could be started: On "
        "node .*: There is no model",
    ):
        watch_and_kill(run, group.group.shards[0].pid)
    assert sum(run.result.num_tokens.values()) > 10
    assert len(read_trace(trace).steps) >= 5
    with pytest.raises(ClusterError, match="The group of shards is lost"):
        Run(group, "Count!", team(3, LAYOUTS["combined"]))
    group.stop()
    assert leftovers.settles(before)


def test_a_session_that_fails_leaves_the_group_to_the_others(
    settings: Settings, damaged_dir: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "t.json"
    with ShardGroup.start(settings(model=damaged_dir)) as group:
        run = Run(group, "Count to ~!", team(2, LAYOUTS["combined"]), trace)
        with pytest.raises(SessionError, match="scores for 'Ann' are not numbers"):
            list(run)
        assert run.result.end_reason == "failed"
        assert read_trace(trace).raw["final"]["reason"] == "failed"
        other = Run(group, "Count!", team(2, LAYOUTS["combined"]))
        list(other)
        assert other.result.end_reason == "all_stopped"
        assert {status.free_pages for status in group.status()} == {group.status()[0].num_pages}


def test_a_name_can_be_used_once_and_unknown_names_are_named(settings: Settings) -> None:
    before = leftovers.now()
    with pytest.raises(ClusterError, match="No group named 'nobody' runs on this cluster"):
        ShardGroup.attach("nobody")
    group = ShardGroup.start(settings(1), name="only")
    with pytest.raises(ClusterError, match="A group named 'only' is already running"):
        ShardGroup.start(settings(1), name="only")
    with pytest.raises(ConfigError, match="There is no session 7; known sessions: none"):
        group.cancel(7)
    group.stop()
    assert leftovers.settles(before)


def test_a_client_that_vanishes_loses_its_session(settings: Settings) -> None:
    """Its lease runs out; the shards go on for others."""
    group = ShardGroup.start(settings(lease_seconds=1.0), name="leased")
    endless = team(2, LAYOUTS["combined"], max_tokens=100_000)
    spec = endless.spec("Count!", group.tokenizer)
    stream = group.open(SessionRequest(problem="Count!", team=endless, spec=spec), recorded=False)
    session = stream.session
    other = Run(group, "Count!", team(2, LAYOUTS["contiguous"], max_tokens=60))
    assert list(other)[-1].kind == "session_end"

    def end_reason() -> str | None:
        return next(one.end_reason for one in group.sessions() if one.id == session)

    assert leftovers.comes_true(lambda: end_reason() == "cancelled")
    group.checksums(session)
    assert [status.free_pages for status in group.status()] == [8_192 // 64] * 2
    group.stop()
