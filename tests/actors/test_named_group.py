"""A second client, in a process of its own, finds a named group, follows and cancels a session."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ray.cluster_utils import Cluster

from actors.cluster import ShardGroup
from actors.settings import GroupSettings
from hogwild_dist import LAYOUTS, Run
from tests.actors.test_cluster_runs import team
from tests.tiny_team import BREAKS
from tests.tiny_tokenizer import EOS

ROOT = Path(__file__).parents[2]


def hogwild(cluster: Cluster, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*map(str, arguments), "--address", cluster.address]
    command = [sys.executable, "-m", "deploy.cli", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_second_client_lists_follows_and_cancels(
    cluster: Cluster, settings: Callable[..., GroupSettings]
) -> None:
    group = ShardGroup.start(settings(), name="team-room")
    endless = replace(BREAKS, forbidden_ids=(EOS,))
    long = replace(team(2, LAYOUTS["independent"], max_tokens=3_900), sampling=endless)
    run = Run(group, "Count forever!", long)
    events = iter(run)
    first = [next(events) for _ in range(20)]
    listed = hogwild(cluster, "group", "sessions", "team-room")
    assert "Count forever!" in listed.stdout
    assert "running" in listed.stdout
    cancelled = hogwild(cluster, "group", "cancel", "team-room", 1)
    assert cancelled.returncode == 0, cancelled.stderr
    mine = [*first, *events]
    assert run.result.end_reason == "cancelled"
    followed = hogwild(cluster, "group", "follow", "team-room", 1, "--json")
    seen = [json.loads(line) for line in followed.stdout.splitlines()]
    assert seen == [json.loads(json.dumps(event.to_json())) for event in mine]
    stopped = hogwild(cluster, "group", "stop", "team-room")
    assert stopped.returncode == 0, stopped.stderr
    again = hogwild(cluster, "group", "sessions", "team-room")
    assert again.returncode == 2
    assert "No group named 'team-room'" in again.stderr
