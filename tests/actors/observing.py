"""What a running cluster shows of itself: Ray's metrics ports and its session's files."""

import json
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from ray.cluster_utils import Cluster

from tests.paths import ROOT

METRICS_PAGE = ROOT / "docs" / "metrics.md"

RAY_LABELS = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}
"""Labels that Ray adds; so are those that begin with `otel_`."""


def scrape() -> list[Sample]:
    """This project's samples, from every node's metrics port."""
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
            with urllib.request.urlopen(url, timeout=5) as reply:
                families = text_string_to_metric_families(reply.read().decode())
                found += [sample for family in families for sample in family.samples]
    return [sample for sample in found if sample.name.startswith("ray_hogwild_")]


def scrape_until(
    holds: Callable[[list[Sample]], bool], seconds: float = 60.0, **labels: str
) -> list[Sample]:
    """Samples that have some labels, once something holds for them, or when the time is over."""
    late = time.monotonic() + seconds
    while True:
        found = [one for one in scrape() if labels.items() <= one.labels.items()]
        if holds(found) or time.monotonic() > late:
            return found
        time.sleep(0.5)


def total(samples: list[Sample], name: str) -> float:
    """Sum over all labels."""
    return sum(sample.value for sample in samples if sample.name == name)


def tags_of(samples: list[Sample]) -> dict[str, set[str]]:
    """Metric -> the tags that this project gave it; a histogram's three series are one metric."""
    found: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        name, parts = re.subn(r"_(bucket|count|sum)$", "", sample.name)
        own = {label for label in sample.labels if not label.startswith("otel_")}
        found[name] |= own - RAY_LABELS - ({"le"} if parts else set())
    return dict(found)


def documented(*parts: str) -> dict[str, set[str]]:
    """Metric -> its tags, from the tables under some headings of docs/metrics.md."""
    page = METRICS_PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", page, re.M))
    row = r"^\| `(ray_hogwild_\w+)` \| \w+ \| (.+?) \|"
    return {
        name: set(re.findall(r"`(\w+)`", tags))
        for part in parts
        for name, tags in re.findall(row, sections[part], re.M)
    }


def log_lines(cluster: Cluster, fields: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Lines of JSON with some fields, from the standard error of Ray's actors."""
    for path in (session_folder(cluster) / "logs").glob("worker-*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{") and fields.items() <= (entry := json.loads(line)).items():
                yield entry


def files_with(cluster: Cluster, text: str) -> list[Path]:
    """All files of Ray's session that hold a text."""
    files = [path for path in session_folder(cluster).rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def session_folder(cluster: Cluster) -> Path:
    """Where Ray keeps what a cluster writes."""
    return Path(cluster.head_node.get_session_dir_path())
