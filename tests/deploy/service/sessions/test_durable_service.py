"""A service with a journal finds its sessions again when all of its processes have ended."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve
from ray._private import state
from ray.cluster_utils import Cluster

from hogwild_dist.deploy.service.app import build_app
from tests.actors import leftovers
from tests.actors.observing import log_lines, session_folder
from tests.deploy.service.sessions.test_group_router import LONG, open_one, session, wait_until

Event = tuple[str, int | None, Any]
"""Kind, id and data."""

ASKED = {"problem": "Count!", "max_tokens": 400, "answer_tokens": 20, "seed": 5}


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


@pytest.fixture(scope="module")
def durable(serve_url: str, arguments: dict[str, Any], journal: Path) -> Iterator[httpx.Client]:
    tokens = {"max_tokens": LONG["max_tokens"], "session_tokens": 2 * LONG["max_tokens"] + 2}
    bounds = {**arguments["bounds"], **tokens}
    fields = {**arguments, "name": "durable", "journal": str(journal), "bounds": bounds}
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
    end_everything()
    assert wait_until(lambda: session(durable, name).get("num_steps", 0) > steps + 3, 120.0)
    found = session(durable, name)
    assert (found["state"], found["error"]) == ("running", None)
    durable.post(f"/v1/sessions/{name}/cancel")
    assert wait_until(lambda: session(durable, name)["state"] == "ended")


def test_who_follows_a_session_gets_every_event_once(durable: httpx.Client) -> None:
    """Also while nothing of the group runs, and while its session is replayed."""
    undisturbed = list(followed(durable, durable.post("/v1/sessions", json=ASKED).json()["id"]))
    name = durable.post("/v1/sessions", json=ASKED).json()["id"]
    seen: list[Event] = []
    for event in followed(durable, name):  # until the connection ends
        seen.append(event)
        if event[1] == 100:
            end_everything()
    assert seen[-1][0] == "update"

    refusals: list[httpx.Response] = []

    def resumes() -> bool:
        try:
            seen.extend(followed(durable, name, last_id(seen)))
        except httpx.HTTPStatusError as error:
            refusals.append(error.response)
        return seen[-1][0] == "end"

    assert wait_until(resumes, 120.0)
    assert {reply.status_code for reply in refusals} == {503}
    assert all(int(reply.headers["Retry-After"]) > 0 for reply in refusals)
    assert shown(seen) == shown(undisturbed)


@pytest.mark.parametrize("lost", ["driver", "shards"])
def test_a_service_is_not_ready_between_a_loss_and_the_next_token(
    durable: httpx.Client, cluster: Cluster, lost: str
) -> None:
    """The logs name the loss once, without tracebacks."""
    assert wait_until(lambda: ready(durable), 120.0)
    told, tracebacks = len(errors(cluster)), num_tracebacks(cluster)
    for info in live():
        if info["Name"].startswith("durable-") and ("/" in info["Name"]) == (lost == "shards"):
            os.kill(info["Pid"], signal.SIGKILL)
    assert wait_until(lambda: not ready(durable), 5.0)
    assert wait_until(lambda: ready(durable), 120.0)
    assert num_tracebacks(cluster) == tracebacks
    news = errors(cluster)[told:]
    if lost == "driver":
        (line,) = news
        assert "durable-0 is lost, and started again: The group's driver died:" in line["message"]
    else:
        assert news == []  # the driver itself goes on, and warns


def test_a_deleted_session_is_in_no_file_and_does_not_come_back(
    durable: httpx.Client, journal: Path
) -> None:
    secret = "a phrase that nobody else says"
    name = open_one(durable, problem=secret)
    kept = open_one(durable)
    assert wait_until(lambda: contains(journal, secret))
    assert durable.delete(f"/v1/sessions/{name}").status_code == 204
    assert not contains(journal, secret)
    end_everything()
    assert wait_until(lambda: session(durable, kept).get("state") == "running", 120.0)
    assert durable.get(f"/v1/sessions/{name}").status_code == 404
    assert not contains(journal, secret)
    assert durable.delete(f"/v1/sessions/{kept}").status_code == 204


def contains(folder: Path, text: str) -> bool:
    """Whether a text is in any file of a folder."""
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*.log"))


def followed(client: httpx.Client, name: str, last: int | None = None) -> Iterator[Event]:
    """Events after the last one that a client has, until the connection ends."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with client.stream("GET", f"/v1/sessions/{name}/events", headers=headers) as reply:
        reply.raise_for_status()
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            if line and not line.startswith(":"):
                field, _, value = line.partition(": ")
                fields[field] = value
            elif fields:
                number = int(fields["id"]) if "id" in fields else None
                yield fields["event"], number, json.loads(fields["data"])
                fields = {}


def last_id(events: list[Event]) -> int | None:
    return max((number for _, number, _ in events if number is not None), default=None)


def shown(events: list[Event]) -> list[Event]:
    """What does not depend on time."""
    return [
        (kind, number, {name: value for name, value in data.items() if name != "seconds"})
        for kind, number, data in events
        if kind != "waiting"
    ]


def ready(client: httpx.Client) -> bool:
    return client.get("/readyz").status_code == 200


def errors(cluster: Cluster) -> list[dict[str, Any]]:
    """What the adapters have logged as errors."""
    found = log_lines(cluster, {"service": "durable", "level": "ERROR"})
    return sorted(found, key=lambda line: line["time"])


def num_tracebacks(cluster: Cluster) -> int:
    """Tracebacks in all logs of Ray's actors and of Serve."""
    logs = session_folder(cluster) / "logs"
    files = [*logs.glob("worker-*.err"), *logs.glob("serve/*.log")]
    return sum(path.read_text(errors="replace").count("Traceback (most") for path in files)


def live() -> list[dict[str, Any]]:
    """Ray's actors that are alive."""
    return [info for info in state.actors().values() if info["State"] == "ALIVE"]


def end_everything() -> None:
    """End the adapter, the driver and the shards at once."""
    for info in live():
        is_adapter = "ServeReplica:durable:Group" in info["ActorClassName"]
        if info["Name"].startswith("durable-") or is_adapter:
            os.kill(info["Pid"], signal.SIGKILL)
