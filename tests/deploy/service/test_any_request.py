"""Whatever JSON a request holds, it is accepted or refused in a sentence, and no shard fails."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hogwild_dist.deploy.service.http.sessions import Newcomer, SessionRequest, Words
from hogwild_dist.deploy.service.openai.schema import IGNORED, UNSUPPORTED, ChatRequest
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.model.loader import load_model
from tests.deploy.service.one_shard import Group, client_of, service_of

NUMBERS = [
    "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" + "0" * 400, "-1" + "0" * 400,
    "1e-320", "-0.0", "1e300", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "2147483648", "2147483649", "0", "1", "2", "1.0", "0.5", "-1",
]  # fmt: skip
"""As they stand in a request; Python's reader of JSON takes all of them."""

PLAIN = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.sampled_from(
        ["null", "true", "false", '"\\ud800"', '"\\u0000"', '""', '"peers"', '"1e999"']
    ),
    st.text(max_size=8).map(json.dumps),
)


def _list(parts: list[str]) -> str:
    return f"[{', '.join(parts)}]"


def _table(fields: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields.items()) + "}"


INNER = ("1", "worker_tokens", "answer_tokens", "include_usage", "role", "content", "type", "text")
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_list),
        st.dictionaries(st.sampled_from(INNER), inner, max_size=3).map(_table),
    ),
    max_leaves=4,
)
BIASES = st.dictionaries(st.sampled_from(["1", "2", "999", "999999999"]), PLAIN).map(_table)
BUDGETS = st.dictionaries(st.sampled_from(["worker_tokens", "answer_tokens"]), PLAIN).map(_table)
SAID = st.sampled_from(
    ['"\\ud800"', '"\\u0000"', '"Go on!"', '[{"type": "text", "text": "\\udfff"}]']
)
MESSAGES = SAID.map(lambda said: f'[{{"role": "user", "content": {said}}}]')

CHAT = {"model": '"tiny"', "messages": '[{"role": "user", "content": "Go on!"}]'}
SESSION = {"problem": '"Go on!"'}


def changed(whole: dict[str, str], names: list[str], **typed: st.SearchStrategy[str]) -> Any:
    """Requests of which some fields have any value; `typed` fields often have one of their kind."""
    one = st.sampled_from(names).flatmap(
        lambda name: st.tuples(
            st.just(name), st.one_of(VALUES, typed[name]) if name in typed else VALUES
        )
    )
    return st.lists(one, min_size=1, max_size=3).map(lambda some: _table(whole | dict(some)))


CHATS = changed(
    CHAT,
    [*ChatRequest.model_fields, *UNSUPPORTED, *IGNORED, "unknown"],
    logit_bias=BIASES,
    budgets=BUDGETS,
    messages=MESSAGES,
)
SESSIONS = changed(SESSION, [*SessionRequest.model_fields, "unknown"], problem=SAID)
WORDS = changed({"text": '"Hurry!"'}, list(Words.model_fields), text=SAID, speaker=SAID)
NEWCOMERS = changed({"name": '"Zoe"'}, list(Newcomer.model_fields), name=SAID, brief=SAID)


@pytest.fixture(scope="module")
def group(tiny_dir: Path) -> Group:
    return Group(load_model(tiny_dir, dtype="float64", device="cpu"))


@pytest.fixture(scope="module")
def client(tiny_dir: Path, group: Group) -> TestClient:
    return client_of(service_of(tiny_dir, group))


def answered(client: TestClient, path: str, body: str) -> bool:
    """Whether a request is accepted; a refusal is one sentence."""
    headers = {"content-type": "application/json"}
    reply = client.post(path, content=body.encode(), headers=headers)
    if reply.status_code in {200, 201, 202}:
        return True
    assert reply.status_code in {400, 404, 409}, (body, reply.text)
    message = reply.json()["error"]["message"]
    assert re.fullmatch(r"[^\n]{10,1000}\.", message), (body, message)
    return False


untimed = settings(suppress_health_check=list(HealthCheck), max_examples=60)


@untimed
@given(CHATS)
def test_a_chat(client: TestClient, body: str) -> None:
    answered(client, "/v1/chat/completions", body)


@untimed
@given(SESSIONS)
def test_a_session(client: TestClient, group: Group, body: str) -> None:
    if answered(client, "/v1/sessions", body):
        group.run(max(group.journal.records))


@pytest.mark.parametrize(
    ("path", "bodies"), [("messages", WORDS), ("workers", NEWCOMERS)], ids=["message", "worker"]
)
def test_a_change(client: TestClient, group: Group, path: str, bodies: Any) -> None:
    created = client.post("/v1/sessions", json={"problem": "Count!"})
    name = created.json()["id"]
    assert SessionId.parse(name) is not None

    @untimed
    @given(bodies)
    def any_body(body: str) -> None:
        answered(client, f"/v1/sessions/{name}/{path}", body)

    any_body()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("path", "whole", "fields"),
    [
        ("/v1/chat/completions", CHAT, ChatRequest.model_fields),
        ("/v1/sessions", SESSION, SessionRequest.model_fields),
    ],
    ids=["chat", "session"],
)
def test_any_number_in_any_field(
    client: TestClient, group: Group, path: str, whole: dict[str, str], fields: Any, number: str
) -> None:
    for name in fields:
        if answered(client, path, _table(whole | {name: number})) and whole is SESSION:
            group.run(max(group.journal.records))


def test_the_plain_requests_are_accepted(client: TestClient) -> None:
    assert answered(client, "/v1/chat/completions", _table(CHAT))
    assert answered(client, "/v1/sessions", _table(SESSION))
