"""A service that is deployed anew has a group at every moment, and no session is cut off."""

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from ray import serve

from hogwild_dist.deploy.service.app import build_app
from tests.actors import leftovers
from tests.deploy.service.conftest import wait_until
from tests.deploy.service.sessions.test_group_router import LONG, drivers, open_one, session

LIMIT = 8_000


@pytest.fixture
def upgraded(serve_url: str, arguments: dict[str, Any]) -> Iterator[httpx.Client]:
    before = leftovers.now()
    deploy(arguments, LIMIT)
    with httpx.Client(base_url=f"{serve_url}/upgraded", timeout=60) as client:
        yield client
    serve.delete("upgraded")
    assert leftovers.settles(before, 60.0)


def deploy(arguments: dict[str, Any], max_tokens: int) -> None:
    """Return when all replicas of the service have these settings."""
    bounds = {**arguments["bounds"], "max_tokens": max_tokens, "session_tokens": 2 * LIMIT + 2}
    fields = {**arguments, "name": "upgraded", "bounds": bounds}
    serve.run(build_app(fields), name="upgraded", route_prefix="/upgraded")


class Watch:
    """Asks whether a service is ready, again and again."""

    def __init__(self, url: str) -> None:
        self.statuses: list[int] = []
        self._url = url
        self._over = Event()
        self._thread = Thread(target=self._ask)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._over.wait(0.05):
                self.statuses.append(client.get(self._url).status_code)


def test_an_upgrade_leaves_no_gap_and_ends_no_session(
    upgraded: httpx.Client, arguments: dict[str, Any]
) -> None:
    assert wait_until(lambda: upgraded.get("/readyz").status_code == 200)
    assert drivers("upgraded") == ["upgraded-0"]
    running = open_one(upgraded, max_tokens=LIMIT)
    assert wait_until(lambda: session(upgraded, running)["state"] == "running")
    with Watch(f"{upgraded.base_url}readyz") as watch:
        deploy(arguments, LIMIT - 1)
        refused = upgraded.post("/v1/sessions", json={**LONG, "max_tokens": LIMIT})
        new = open_one(upgraded, max_tokens=20)
    assert set(watch.statuses) == {200}
    assert refused.status_code == 400  # the new settings apply
    assert new.startswith("g1-")
    assert wait_until(lambda: session(upgraded, new)["state"] == "ended")
    found = session(upgraded, running)
    assert found["state"] in {"running", "ended"}
    upgraded.post(f"/v1/sessions/{running}/cancel")
    assert wait_until(lambda: drivers("upgraded") == ["upgraded-1"], 60.0)
