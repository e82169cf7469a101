"""Sessions in a journal outlive their driver and its whole cluster."""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from ray._private import state

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.driver.durable_log import log_url
from hogwild_dist.actors.driver.log.files import LogFiles
from hogwild_dist.actors.errors import ClusterError, GoneError, LogError
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.events import Event, Interjected
from hogwild_dist.team.session_request import SessionRequest
from tests.actors import leftovers
from tests.actors.client.test_shard_group import team
from tests.actors.test_named_group import ENDLESS
from tests.actors.test_trouble import one_process

Settings = Callable[..., GroupSettings]
TEAM = team(3, LAYOUTS["combined"], max_tokens=60)


def end_everything(name: str) -> None:
    """End a driver and its shards at once, as a power failure does."""
    pids = [
        info["Pid"]
        for info in state.actors().values()
        if info["State"] == "ALIVE" and info["Name"].split("/")[0] == name
    ]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def watch_until_the_end(run: Run, seen: list[Event]) -> None:
    for event in run:
        seen.append(event)
        if len(seen) == 30:
            end_everything("phoenix")


@pytest.mark.parametrize("visibility", [Visibility.NEXT_STEP, Visibility.OVERLAPPED])
def test_sessions_outlive_driver_and_shards(
    visibility: Visibility, settings: Settings, tiny_dir: Path, tmp_path: Path, hogwild
) -> None:
    before = leftovers.now()
    chosen = replace(settings(2, visibility), journal=str(tmp_path))
    undisturbed = list(Run(one_process(chosen, tiny_dir), "Count!", TEAM))
    seen: list[Event] = []
    back = f"bring its sessions back with `hogwild group restore phoenix --journal {tmp_path}`."
    with pytest.raises(GoneError, match=f"driver died: .*; {re.escape(back)}$"):
        watch_until_the_end(Run(ShardGroup.start(chosen, name="phoenix"), "Count!", TEAM), seen)
    assert seen == undisturbed[: len(seen)]
    restored = hogwild("group", "restore", "phoenix", "--journal", str(tmp_path))
    assert restored.code == 0, restored.err
    assert "shard 1:" in restored.out
    assert re.search(r"session 1: (running|replayed to step \d+), \d+ steps", restored.out)
    group = ShardGroup.attach("phoenix")
    again = [event for update in group.follow(1) for event in update.events]
    assert again == undisturbed
    assert list(Run(group, "Count!", TEAM)) == undisturbed
    assert [one.id for one in group.sessions()] == [1, 2]
    group.stop()
    assert leftovers.settles(before)


def test_a_journal_of_other_settings_is_refused_and_kept(
    settings: Settings, tmp_path: Path
) -> None:
    before = leftovers.now()
    chosen = replace(settings(1), journal=str(tmp_path))
    endless = team(2, LAYOUTS["combined"], max_tokens=2_000)
    group = ShardGroup.start(chosen, name="kept")
    request = SessionRequest(
        problem="Count!", team=endless, spec=endless.spec("Count!", group.tokenizer)
    )
    session = group.open(request, recorded=False).session
    events = (event for update in group.follow(session) for event in update.events)
    seen = list(islice(events, 30))
    group.stop()
    absent = settings(1, Visibility.NEXT_STEP, model="./no/such")  # no model has to be loaded
    other = replace(absent, journal=str(tmp_path))
    with pytest.raises(LogError, match="with visibility same-step, and the group has next-step"):
        ShardGroup.start(other, name="kept")
    again = ShardGroup.start(chosen, name="kept")
    found = (event for update in again.follow(1) for event in update.events)
    assert list(islice(found, 30)) == seen
    again.stop()
    assert leftovers.settles(before)


def test_a_message_to_a_session_that_is_replayed_waits_and_its_sender_is_told(
    settings: Settings, tmp_path: Path, hogwild
) -> None:
    before = leftovers.now()
    chosen = replace(settings(1), journal=str(tmp_path))
    group = ShardGroup.start(chosen, name="patient")
    spec = ENDLESS.spec("Count!", group.tokenizer)
    request = SessionRequest(problem="Count!", team=ENDLESS, spec=spec)
    group.open(request, recorded=False)
    written = (event for update in group.follow(1) for event in update.events)
    number = max(event.step for event in islice(written, 2_000))
    group.stop()
    again = ShardGroup.start(chosen, name="patient")
    (shard,) = again.group.shards
    os.kill(shard.pid, signal.SIGSTOP)
    (summary,) = again.sessions()
    assert summary.replayed is not None
    assert summary.replayed < number
    said = hogwild("group", "say", "patient", 1, "Hurry!")
    assert said.code == 0
    assert "session 1 is being replayed, and is at step" in said.err
    assert said.err.endswith("the change is made when the replay is over\n")
    os.kill(shard.pid, signal.SIGCONT)
    events = (event for update in again.follow(1) for event in update.events)
    spoken = next(event for event in events if isinstance(event, Interjected))
    assert spoken.text == "You: Hurry!\n"
    assert spoken.step >= number
    again.stop()
    assert leftovers.settles(before)


def test_of_two_drivers_the_older_one_steps_back(settings: Settings, tmp_path: Path) -> None:
    before = leftovers.now()
    group = ShardGroup.start(replace(settings(1), journal=str(tmp_path)), name="older")
    newer = LogFiles(log_url(str(tmp_path), "older"))
    with pytest.raises(ClusterError, match="Another driver has taken over the group's log"):
        list(Run(group, "Count!", team(2, LAYOUTS["combined"], max_tokens=2_000)))
    newer.close()
    group.stop()
    assert leftovers.settles(before)


def test_a_journal_needs_a_group_with_a_name(settings: Settings, hogwild, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a group with a name"):
        ShardGroup.start(replace(settings(1), journal=str(tmp_path)))
    unknown = hogwild("group", "restore", "nobody", "--journal", str(tmp_path))
    assert unknown.code == 2
    assert "There is no group 'nobody' in the journal" in unknown.err
