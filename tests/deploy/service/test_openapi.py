"""The service does what its OpenAPI document says, for requests that a fuzzer makes of it."""

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

ASKED = {
    "messages": [{"role": "user", "content": "Count to three!"}],
    "team": "peers",
    "workers": 2,
    "layout": "combined",
    "n": 1,
    "max_tokens": 9,
    "logit_bias": None,
    "budgets": {},
}
"""What a chat of a known model needs to be answered."""


@pytest.fixture(scope="module")
def document(service_url: str) -> schemathesis.schemas.BaseSchema:
    return schemathesis.openapi.from_url(f"{service_url}/openapi.json")


@pytest.fixture(scope="module")
def known(http: httpx.Client) -> Iterator[str]:
    """A session that goes on; it and those that the fuzzer opens are ended with the tests."""
    asked = {"problem": "Count for ever!", "max_tokens": 6_000, "trace": True}
    yield http.post("/v1/sessions", json=asked).json()["id"]
    for session in http.get("/v1/sessions").json()["data"]:
        if session["state"] in {"waiting", "running"}:
            http.post(f"/v1/sessions/{session['id']}/cancel")


def test_what_is_answered_is_documented(
    document: schemathesis.schemas.BaseSchema, known: str
) -> None:
    """Every operation, with sessions that are there and such that are not."""
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 10
    seen = {operation.label: conforms(operation, known) for operation in operations}
    assert {200, 400, 404} <= seen["POST /v1/chat/completions"]
    assert {201, 400} <= seen["POST /v1/sessions"]
    assert {202, 400, 404} <= seen["POST /v1/sessions/{session}/messages"]


def conforms(operation: schemathesis.schemas.APIOperation, known: str) -> set[int]:
    """With which statuses an operation answered; each answer is as documented."""
    seen = set()
    # The events of a known session end with it, and who deletes it leaves none to the others.
    spared = (
        operation.path.endswith("/events") or operation.label == "DELETE /v1/sessions/{session}"
    )

    @settings(
        max_examples=25,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(),
        there=st.booleans(),
        stream=st.booleans(),
        model=st.sampled_from(["tiny", "unknown"]),
    )
    def check(case: schemathesis.Case, there: bool, stream: bool, model: str) -> None:
        if "session" in case.path_parameters and there and not spared:
            case.path_parameters["session"] = known
        if there and isinstance(case.body, dict) and "messages" in case.body:
            case.body |= {**ASKED, "stream": stream, "model": model}
        seen.add(case.call_and_validate(checks=CHECKS, timeout=60).status_code)

    check()
    return seen
