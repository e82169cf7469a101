"""Groups start, end, are adopted and probed; sessions outlive the replica that manages them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve
from ray._private import state

from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.deploy.service.app import build_app
from tests.actors import leftovers
from tests.deploy.service.conftest import wait_until

LONG = {"problem": "Count for ever!", "max_tokens": 15_000, "answer_tokens": 2}


@pytest.fixture(scope="module")
def scaled(serve_url: str, arguments: dict[str, Any]) -> Iterator[httpx.Client]:
    """A service that may grow to two groups."""
    scale = {
        "max_groups": 2,
        "sessions_per_group": 2,
        "upscale_delay_seconds": 0.5,
        "downscale_delay_seconds": 1.0,
        "drain_seconds": 60.0,
    }
    tokens = {"max_tokens": LONG["max_tokens"], "session_tokens": 2 * LONG["max_tokens"] + 2}
    bounds = {**arguments["bounds"], **tokens}
    more = {"name": "scaled", "scale": scale, "health_seconds": 2.0, "bounds": bounds}
    fields = {**arguments, **more}
    before = leftovers.now()
    serve.run(build_app(fields), name="scaled", route_prefix="/scaled")
    with httpx.Client(base_url=f"{serve_url}/scaled", timeout=60) as client:
        yield client
    serve.delete("scaled")
    assert leftovers.settles(before, 60.0)


def drivers(service: str) -> list[str]:
    """Names of the live drivers of a service."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return sorted(
        one["name"]
        for one in named
        if one["namespace"] == NAMESPACE
        and one["name"].startswith(f"{service}-")
        and "/" not in one["name"]
    )


def pids(class_name: str) -> set[int]:
    """Processes of the live actors of a class."""
    return {
        info["Pid"]
        for info in state.actors().values()
        if info["State"] == "ALIVE" and class_name in info["ActorClassName"]
    }


def adapters(service: str) -> set[int]:
    """Processes that look after a service's groups."""
    return pids(f"ServeReplica:{service}:Group")


def open_one(http: httpx.Client, **fields: Any) -> str:
    reply = http.post("/v1/sessions", json={**LONG, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def session(http: httpx.Client, name: str) -> dict[str, Any]:
    return http.get(f"/v1/sessions/{name}").json()


def test_a_session_outlives_the_adapter_of_its_group(scaled: httpx.Client) -> None:
    """Whose successor adopts the same driver."""
    (before,) = adapters("scaled")
    (driver,) = drivers("scaled")
    name = open_one(scaled)
    assert wait_until(lambda: session(scaled, name)["num_steps"] > 3)
    os.kill(before, signal.SIGKILL)
    steps = session(scaled, name)["num_steps"]
    assert wait_until(lambda: adapters("scaled") not in (set(), {before}), 90.0)
    assert wait_until(lambda: serve.status().applications["scaled"].status == "RUNNING", 60.0)
    # Until its successor has adopted the driver, the session is not found.
    assert wait_until(lambda: session(scaled, name).get("num_steps", 0) > steps, 60.0)
    after = session(scaled, name)
    assert after["state"] in {"running", "ended"}
    assert after["error"] is None
    assert drivers("scaled") == [driver]
    scaled.post(f"/v1/sessions/{name}/cancel")


def test_groups_follow_the_load_and_drain(scaled: httpx.Client) -> None:
    names = [open_one(scaled) for _ in range(4)]
    (first,) = {name.split("-")[0] for name in names}
    assert wait_until(lambda: scaled.get("/readyz").json().get("groups") == 2, 90.0)
    new = open_one(scaled)  # goes where least is to do
    assert new.split("-")[0] != first
    assert wait_until(lambda: session(scaled, new)["state"] == "running")
    for name in names:
        scaled.post(f"/v1/sessions/{name}/cancel")
    assert wait_until(lambda: scaled.get("/readyz").json()["groups"] == 1, 60.0)
    # whichever group ends keeps its session until that has ended
    steps = session(scaled, new)["num_steps"]
    assert wait_until(lambda: session(scaled, new)["num_steps"] > steps)
    scaled.post(f"/v1/sessions/{new}/cancel")
    assert wait_until(lambda: len(drivers("scaled")) == 1, 90.0)


def test_a_session_outlives_all_shards_of_its_group(scaled: httpx.Client) -> None:
    name = open_one(scaled)
    assert wait_until(lambda: session(scaled, name)["num_steps"] > 3)
    for pid in shards():
        os.kill(pid, signal.SIGKILL)
    steps = session(scaled, name)["num_steps"]
    assert wait_until(lambda: session(scaled, name)["num_steps"] > steps + 3, 60.0)
    assert session(scaled, name)["error"] is None
    scaled.post(f"/v1/sessions/{name}/cancel")


def test_a_group_that_is_lost_is_replaced(scaled: httpx.Client, roomy_dir: Path) -> None:
    """It cannot bring its shards back, since its model is gone for a while."""
    name = open_one(scaled)
    assert wait_until(lambda: session(scaled, name)["num_steps"] > 3)
    elsewhere = roomy_dir.rename(roomy_dir.with_name("elsewhere"))
    try:
        for pid in shards():
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: session(scaled, name)["state"] == "failed", 30.0)
    finally:
        elsewhere.rename(roomy_dir)
    lost = session(scaled, name)
    assert "died" in lost["error"]
    assert lost["num_tokens"] > 0  # the text is kept
    refused = scaled.post("/v1/sessions", json=LONG)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert scaled.get("/readyz").status_code == 503
    assert wait_until(lambda: scaled.get("/readyz").status_code == 200, 120.0)
    scaled.post(f"/v1/sessions/{open_one(scaled)}/cancel")


def test_a_shard_that_hangs_fails_the_proof(scaled: httpx.Client) -> None:
    """It lives and computes nothing."""
    (pid,) = shards()
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        assert wait_until(lambda: pid not in shards(), 120.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - begin > 2.0
    assert wait_until(lambda: scaled.get("/readyz").status_code == 200, 120.0)


def shards() -> set[int]:
    """Processes of the shards of the service's groups."""
    return {
        info["Pid"]
        for info in state.actors().values()
        if info["State"] == "ALIVE"
        and info["Name"].startswith("scaled-")
        and "/shard-" in info["Name"]
    }
