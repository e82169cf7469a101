import httpx

from tests.deploy.service.conftest import wait_until


def test_a_service_that_is_started_is_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    idle = {"status": "ready", "groups": 1, "running": 0, "waiting": 0}
    assert wait_until(lambda: http.get("/readyz").json() == idle)
