"""A second client, in a process of its own, finds a named group, follows and cancels a session."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ray.cluster_utils import Cluster

from hogwild_dist import LAYOUTS, Run
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.placement.cleanup import kill_leftovers
from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.session.events import Interjected, Joined, Refused, Text
from hogwild_dist.team.session_request import SessionRequest
from tests.actors import leftovers
from tests.actors.client.test_shard_group import team
from tests.actors.placement.test_cleanup import process
from tests.paths import ROOT
from tests.tiny_team import BREAKS
from tests.tiny_tokenizer import EOS


def command(cluster: Cluster, *arguments: object) -> list[str]:
    words = [*map(str, arguments), "--address", cluster.address]
    interruptible = ["env", "--default-signal=INT"]  # CI may ignore it, and children inherit that
    return [*interruptible, sys.executable, "-m", "hogwild_dist.deploy.cli.app", *words]


def elsewhere(cluster: Cluster, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; the fixture `hogwild` runs it in this one."""
    return subprocess.run(
        command(cluster, *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )


def watched(
    cluster: Cluster, action: Callable[[int], None], *arguments: object
) -> tuple[int, str, str]:
    """Do something to a command's process once it has shown a line; return how it ended."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(cluster, *arguments), cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        action(process.pid)
        out, err = process.communicate()
    return process.returncode, out.splitlines()[-1], err


def interrupt(pid: int) -> None:
    os.kill(pid, signal.SIGINT)


ENDLESS = replace(
    team(2, LAYOUTS["independent"], max_tokens=3_900),
    sampling=replace(BREAKS, forbidden_ids=(EOS,)),
)


def test_a_second_client_lists_follows_and_cancels(
    cluster: Cluster, settings: Callable[..., GroupSettings], hogwild
) -> None:
    group = ShardGroup.start(settings(), name="team-room")
    run = Run(group, "Count forever!", ENDLESS)
    events = iter(run)
    first = [next(events) for _ in range(20)]
    listed = hogwild("group", "sessions", "team-room")
    assert "Count forever!" in listed.out
    assert "running" in listed.out
    pids = [shard.pid for shard in group.group.shards]
    healthy = hogwild("group", "status", "team-room").out
    assert all(str(pid) in healthy for pid in pids)
    assert "2 of 2 shards, epoch 1: ready" in healthy
    listed = hogwild("group", "list").out
    assert re.search(r"team-room +│ 2 of 2 +│ 1 +│ ready ", listed), listed
    assert "shard-0" not in listed
    os.kill(pids[0], signal.SIGKILL)
    assert leftovers.comes_true(lambda: group.group.epoch == 3)  # it was replaced
    shown = hogwild("group", "status", "team-room").out
    hurt = "".join(line for line in shown.splitlines() if "(raylet)" not in line)
    assert [str(pid) in hurt for pid in pids] == [False, True]
    assert "2 of 2 shards, epoch 3" in hurt
    cancelled = elsewhere(cluster, "group", "cancel", "team-room", 1)
    assert cancelled.returncode == 0, cancelled.stderr
    mine = [*first, *events]
    assert run.result.end_reason == "cancelled"
    followed = hogwild("group", "follow", "team-room", 1, "--json")
    seen = [json.loads(line) for line in followed.out.splitlines()]
    assert seen == [json.loads(json.dumps(event.to_json())) for event in mine]
    written = sum(update.seconds for update in group.follow(1))
    assert f"tokens in {written:.1f} s" in hogwild("group", "follow", "team-room", 1).out
    assert hogwild("group", "forget", "team-room", 1).code == 0
    assert "Count forever!" not in hogwild("group", "sessions", "team-room").out
    gone = hogwild("group", "forget", "team-room", 1)
    assert (gone.code, "There is no session 1" in gone.err) == (2, True)
    stopped = hogwild("group", "stop", "team-room")
    assert stopped.code == 0, stopped.err
    again = hogwild("group", "sessions", "team-room")
    assert again.code == 2
    assert "No group named 'team-room'" in again.err


def test_a_second_client_lets_a_worker_join_and_speaks(
    cluster: Cluster, settings: Callable[..., GroupSettings], hogwild
) -> None:
    """It has neither the team nor its prompts, and what is read is written with both."""
    group = ShardGroup.start(settings(), name="open-room")
    run = Run(group, "Count forever!", ENDLESS)
    newcomer = ("Zoe", "--role", "checks", "--brief", "Be short.")
    joined = elsewhere(cluster, "group", "join", "open-room", 1, *newcomer)
    assert joined.returncode == 0, joined.stderr
    spoken = hogwild("group", "say", "open-room", 1, "Hurry!", "--speaker", "Eve")
    assert spoken.code == 0, spoken.err
    unknown = hogwild("group", "join", "open-room", 7, "Zoe")
    assert "There is no session 7; known sessions: 1." in unknown.err
    events = []
    for event in run:
        events.append(event)
        if isinstance(event, Refused) or (isinstance(event, Interjected) and event.name == "Eve"):
            break
    events += run.close()
    (zoe,) = [event for event in events if isinstance(event, Joined)]
    assert (zoe.worker, zoe.role) == (2, "checks")
    first, *later = [e for e in events if isinstance(e, Text) and e.name == "Zoe"]
    assert first.text == "Psst: Be short. \n\nZoe [1]: A sentence.\n"
    assert any(text.chosen for text in later)
    told = ["\n**Zoe** joins the team: checks\n\n", "Eve: Hurry!\n"]
    assert [e.text for e in events if isinstance(e, Interjected)] == told
    group.stop()


def test_whoever_leaves_or_is_left_is_told_what_became_of_the_session(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    before = leftovers.now()
    group = ShardGroup.start(settings(1), name="watched-room")
    limits = ("--max-tokens", 3_900, "--layout", "independent", "--temperature", 2)
    run = ("run", "Count!", "--attach", "watched-room", *limits)
    code, summary, err = watched(cluster, interrupt, *run)
    assert (code, "cancelled: Alice" in summary) == (130, True), err
    assert [one.end_reason for one in group.sessions()] == ["cancelled"]

    spec = ENDLESS.spec("Count!", group.tokenizer)
    request = SessionRequest(problem="Count!", team=ENDLESS, spec=spec)
    follow = ("group", "follow", "watched-room")
    second = group.open(request, recorded=False).session
    code, summary, err = watched(cluster, interrupt, *follow, second)
    assert (code, "left; the session goes on: Ann" in summary) == (130, True), err
    assert group.sessions()[-1].end_reason is None

    third = group.open(request, recorded=False).session
    kill = partial(os.kill, process("watched-room"), signal.SIGKILL)
    code, summary, err = watched(cluster, lambda _: kill(), *follow, third)
    assert (code, "connection lost: Ann" in summary) == (2, True), err
    assert "start it anew with `hogwild group start watched-room`." in err
    asyncio.run(kill_leftovers("watched-room"))
    assert leftovers.settles(before)
