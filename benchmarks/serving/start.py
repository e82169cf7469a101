"""A service on this machine that lives as long as a benchmark, and its processes."""

import re
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray
from ray import serve

from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.deploy.service.app import build_app
from hogwild_dist.deploy.service.config import service_config
from hogwild_dist.deploy.service.http.request_ids import CONTROLLER
from tests.tiny_engine import tiny_network
from tests.tiny_tokenizer import byte_tokenizer

HOST = "127.0.0.1"
STORE_BYTES = 200 * 1024 * 1024
METRICS_MS = 500
"""How often Ray hands metrics on; its own 10 seconds are long beside a measurement."""

ROLES = {
    "Ingress": "ingress",
    "Group": "group replica",
    "Driver": "driver",
    "Shard": "shard",
    "ServeController": "controller",
    "ProxyActor": "proxy",
}
"""What Ray calls the class of an actor ends with -> what is shown."""

RAYS_OWN = ("raylet", "gcs_server")


@contextmanager
def started(arguments: dict[str, Any]) -> Iterator[str]:
    """Start Ray and a service, and end both after the block; yields the service's address."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port = one.getsockname()[1]
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        _system_config={"metrics_report_interval_ms": METRICS_MS},
    )
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": HOST, "port": port},
            controller_options=CONTROLLER,
        )
        serve.run(build_app(arguments), name="service", route_prefix="/")
        yield f"http://{HOST}:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


@contextmanager
def tiny_model() -> Iterator[str]:
    """Return the folder of a tiny random model, for measurements that count and do not time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny"
        tiny_network(max_position_embeddings=32_768).save_pretrained(path)
        byte_tokenizer().save_pretrained(path)
        yield str(path)


def tiny_arguments(model: str) -> dict[str, Any]:
    """Return the configuration of a service on the tiny model, whose sessions are all short."""
    return {
        "model": model,
        "dtype": "float64",
        "threads": 1,
        "cache_tokens": 131_072,
        "kept_sessions": 100,
        "defaults": {"max_tokens": 12, "answer_tokens": 6, "temperature": 1.0},
        "bounds": {"problem_chars": 2_000, "prompt_tokens": 4_000, "max_tokens": 2_000},
    }


def group() -> ShardGroup:
    """Return the service's only group."""
    return ShardGroup.attach(service_config({}).group_name(0))


def actors() -> dict[str, tuple[str, int]]:
    """Return the id of every live actor -> its role and process."""
    found = {}
    for name, one in ray._private.state.actors().items():
        role = ROLES.get(one["ActorClassName"].rpartition(":")[2])
        if one["State"] == "ALIVE" and role is not None:
            found[name] = (role, one["Pid"])
    return found


def processes() -> dict[str, psutil.Process]:
    """Return role -> a process of the service with it, including Ray's own."""
    return {role: first for role, (first, *_) in processes_by_role().items()}


def processes_by_role() -> dict[str, list[psutil.Process]]:
    """Return role -> its processes, including Ray's own; roles without a process are left out."""
    found: dict[str, list[psutil.Process]] = {}
    for role, pid in actors().values():
        with suppress(psutil.NoSuchProcess):
            found.setdefault(role, []).append(psutil.Process(pid))
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() in RAYS_OWN:
                found.setdefault(child.name(), []).append(child)
    return found


def logs() -> str:
    """Return the folder of Ray's logs."""
    return str(ray._private.worker._global_node.get_logs_dir_path())


def steps() -> tuple[int, float]:
    """Return the number of steps that the shard has made so far, and their total duration."""
    time.sleep(4 * METRICS_MS / 1_000)
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    with urllib.request.urlopen(url, timeout=5) as reply:
        text = reply.read().decode()
    number, total = (
        sum(map(float, re.findall(rf"^ray_hogwild_step_seconds_{one}\{{.*\}} (\S+)$", text, re.M)))
        for one in ("count", "sum")
    )
    return int(number), total


def idle(url: str, seconds: float = 60.0) -> bool:
    """Wait until the service has no running session; return whether that happened in time."""

    def nothing() -> bool:
        return bool(httpx.get(f"{url}/readyz", timeout=10).json().get("running") == 0)

    return wait_until(nothing, seconds)


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; return whether it did in time."""
    late = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > late:
            return False
        time.sleep(0.1)
    return True
