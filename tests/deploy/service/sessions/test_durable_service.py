"""A service with a journal finds its sessions again when all of its processes have ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve
from ray._private import state

from hogwild_dist.deploy.service.app import build_app
from tests.actors import leftovers
from tests.deploy.service.sessions.test_group_router import LONG, open_one, session, wait_until


@pytest.fixture
def durable(serve_url: str, arguments: dict[str, Any], tmp_path: Path) -> Iterator[httpx.Client]:
    tokens = {"max_tokens": LONG["max_tokens"], "session_tokens": 2 * LONG["max_tokens"] + 2}
    bounds = {**arguments["bounds"], **tokens}
    fields = {**arguments, "name": "durable", "journal": str(tmp_path), "bounds": bounds}
    before = leftovers.now()
    serve.run(build_app(fields), name="durable", route_prefix="/durable")
    with httpx.Client(base_url=f"{serve_url}/durable", timeout=60) as client:
        yield client
    serve.delete("durable")
    assert leftovers.settles(before, 60.0)


def test_a_session_outlives_every_process_of_its_group(durable: httpx.Client) -> None:
    name = open_one(durable)
    assert wait_until(lambda: session(durable, name)["num_steps"] > 3)
    steps = session(durable, name)["num_steps"]
    for pid in processes():
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: session(durable, name).get("num_steps", 0) > steps + 3, 120.0)
    found = session(durable, name)
    assert (found["state"], found["error"]) == ("running", None)
    durable.post(f"/v1/sessions/{name}/cancel")
    assert wait_until(lambda: session(durable, name)["state"] == "ended")


def processes() -> set[int]:
    """Adapter, driver and shards."""
    return {
        info["Pid"]
        for info in state.actors().values()
        if info["State"] == "ALIVE"
        and (
            info["Name"].startswith("durable-")
            or "ServeReplica:durable:Group" in info["ActorClassName"]
        )
    }
