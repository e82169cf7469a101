"""Requests are lines of JSON under their names, and nothing that clients say is in Ray's files."""

import asyncio
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from ray.cluster_utils import Cluster
from ray.serve.schema import ServeDeploySchema

from hogwild_dist.actors.logs import JsonLines
from hogwild_dist.deploy.service.http.middleware import InterruptedResponseError, RequestLog
from hogwild_dist.deploy.service.http.request_ids import CONTROLLER
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from tests.actors.observing import files_with, log_lines
from tests.deploy.service.conftest import wait_until
from tests.paths import ROOT

MARKER = "wuffzq"
HARMFUL = ["x" * 65, f'{MARKER}"', f"{MARKER} injected=1", "ü", ""]


def test_a_request_is_a_line_of_json_under_the_client_s_name(
    http: httpx.Client, cluster: Cluster
) -> None:
    name = "a-client.s_own-1"
    reply = http.get("/v1/models", headers={"X-Request-Id": name})
    assert reply.headers.get_list("x-request-id") == [name]
    assert wait_until(lambda: bool(list(log_lines(cluster, {"request": name}))))
    (line,) = log_lines(cluster, {"request": name})
    assert 0 <= line.pop("seconds") < 60
    del line["time"]
    assert line == {
        "level": "INFO",
        "logger": "hogwild_dist.service",
        "service": "hogwild-service",
        "request": name,
        "method": "GET",
        "route": "/v1/models",
        "status": 200,
        "message": "request",
    }


@pytest.mark.parametrize("name", HARMFUL, ids=["long", "quote", "space", "foreign", "empty"])
def test_a_harmful_name_is_replaced(http: httpx.Client, name: str) -> None:
    reply = http.get("/healthz", headers={"X-Request-Id": name.encode()})
    (given,) = reply.headers.get_list("x-request-id")
    assert re.fullmatch(r"[0-9a-f]{32}", given)


def test_nothing_that_clients_say_is_in_ray_s_files(http: httpx.Client, cluster: Cluster) -> None:
    """A marker in every place that takes text; nor is the secret of a session there."""
    keyed = {"Authorization": f"Bearer {MARKER}", "X-Request-Id": f"{MARKER} {MARKER}"}
    long = {"problem": f"Say {MARKER}!", "max_tokens": 1_500, "seed": 1}
    session = http.post("/v1/sessions", json=long, headers=keyed).json()["id"]
    at = f"/v1/sessions/{session}"
    said = {"text": f"{MARKER}?", "speaker": MARKER}
    newcomer = {"name": MARKER, "role": MARKER, "brief": MARKER}
    for path, body in (("messages", said), ("workers", newcomer)):
        assert http.post(f"{at}/{path}", json=body).status_code == 202
    assert wait_until(lambda: MARKER in [one["name"] for one in http.get(at).json()["workers"]])
    assert http.delete(f"{at}/workers/{MARKER}").status_code == 202
    with http.stream("GET", f"{at}/events", headers=keyed) as events:
        assert any(MARKER in line for line in events.iter_lines())
    assert http.post(f"{at}/cancel").status_code == 202
    wrong = {"problem": MARKER, "team": MARKER, MARKER: MARKER}
    for refused in (
        http.post("/v1/sessions", json=wrong),
        http.post("/v1/sessions", json={"problem": MARKER, "team": MARKER}),
        http.post("/v1/sessions", content=MARKER),
        http.get(f"/{MARKER}", params={MARKER: MARKER}),
        http.get(f"{at}/{MARKER}"),
        http.get(f"/v1/sessions/{MARKER}"),
        http.get(f"{session}x"),
    ):
        assert 400 <= refused.status_code < 500
    messages = [{"role": "user", "name": MARKER, "content": MARKER}]
    last = {"X-Request-Id": "the-last-one"}
    chat = {"model": "tiny", "messages": messages, "user": MARKER, "max_tokens": 9}
    assert http.post("/v1/chat/completions", json=chat, headers=last).status_code == 200
    assert wait_until(lambda: bool(list(log_lines(cluster, {"request": "the-last-one"}))))
    assert files_with(cluster, "the-last-one")
    assert files_with(cluster, MARKER) == []
    secret = session[-22:]
    assert files_with(cluster, secret) == []


def test_a_client_that_leaves_is_no_fault_of_the_service(
    http: httpx.Client, cluster: Cluster
) -> None:
    long = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Go on!"}],
        "budgets": {"worker_tokens": 1_500},
    }
    name = {"X-Request-Id": "leaves-early"}
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json=long, headers=name, timeout=1)
    assert wait_until(lambda: bool(list(log_lines(cluster, {"request": "leaves-early"}))))
    (line,) = log_lines(cluster, {"request": "leaves-early"})
    assert line["status"] == 499


def test_serve_deploy_replaces_harmful_names_too() -> None:
    text = (ROOT / "deploy" / "serve.yaml").read_text(encoding="utf-8")
    options = ServeDeploySchema.model_validate(yaml.safe_load(text)).controller_options
    assert options is not None
    assert options.model_dump() == CONTROLLER


def failing_app() -> FastAPI:
    """Fails before and within an answer; needs no Ray."""
    app = FastAPI()
    app.add_middleware(RequestLog, metrics=ServiceMetrics("failing", "none"))

    @app.get("/at-once")
    async def at_once() -> None:
        raise ValueError(MARKER)

    @app.get("/later")
    async def later() -> StreamingResponse:
        async def words() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ValueError(MARKER)

        return StreamingResponse(words())

    return app


def ask(path: str) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=failing_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers={"X-Request-Id": "it-fails"})

    return asyncio.run(get())


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(JsonLines().format(record)) for record in caplog.records]


def test_a_failure_is_logged_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hogwild_dist.service"):
        reply = ask("/at-once")
    assert reply.status_code == 500
    sentence = "The service failed; its log describes the failure of request it-fails."
    assert reply.json()["error"]["message"] == sentence
    failed, request = told(caplog)
    assert (failed["error"], failed["request"]) == ("ValueError", "it-fails")
    assert "in at_once" in failed["traceback"]
    assert request["status"] == 500
    assert MARKER not in json.dumps([failed, request]) + reply.text


def test_an_answer_that_breaks_off_is_not_brought_to_an_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.INFO, "hogwild_dist.service"),
        pytest.raises(InterruptedResponseError, match="it-fails") as caught,
    ):
        ask("/later")
    told_by_serve = "".join(traceback.format_exception(caught.value))
    assert MARKER not in json.dumps(told(caplog)) + told_by_serve
