"""Every metric that is documented is exported by a real run, and none besides."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import ray

from actors.cluster import ShardGroup
from actors.settings import GroupSettings
from hogwild_dist import LAYOUTS, Run
from tests.actors.test_cluster_runs import team

DOCUMENTED = set(
    re.findall(r"`(ray_hogwild_\w+)`", (Path(__file__).parents[2] / "docs/metrics.md").read_text())
)


def exported(group: str) -> dict[str, float]:
    """Name -> sum over the shards of a group, from every node's metrics port."""
    found: dict[str, float] = {}
    for node in ray.nodes():
        if node["Alive"]:
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
            with urllib.request.urlopen(url, timeout=5) as reply:
                text = reply.read().decode()
            series = rf'^(ray_hogwild_\w+)\{{.*group="{group}".*\}} (\S+)$'
            for name, value in re.findall(series, text, re.M):
                found[name] = found.get(name, 0.0) + float(value)
    return found


def base_names(names: set[str]) -> set[str]:
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_every_documented_metric_is_exported(settings: Callable[..., GroupSettings]) -> None:
    group = ShardGroup.start(settings(), name="counted")
    run = Run(group, "Count!", team(3, LAYOUTS["combined"]))
    for _ in run:
        pass
    chosen = sum(run.result.num_tokens.values())
    metrics: dict[str, float] = {}
    late = time.monotonic() + 60
    while time.monotonic() < late and (
        base_names(set(metrics)) != DOCUMENTED or metrics["ray_hogwild_tokens_total"] < chosen
    ):
        time.sleep(0.5)
        metrics = exported("counted")
    group.stop()
    assert base_names(set(metrics)) == DOCUMENTED
    assert metrics["ray_hogwild_tokens_total"] == chosen
    assert metrics["ray_hogwild_live_shards"] == 2
    exposed = metrics["ray_hogwild_exposed_wait_seconds_total"]
    assert 0 < exposed <= metrics["ray_hogwild_exchange_seconds_total"]
