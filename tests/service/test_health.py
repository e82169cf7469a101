import httpx


def test_a_service_that_is_started_is_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "groups": 1, "running": 0, "waiting": 0}
