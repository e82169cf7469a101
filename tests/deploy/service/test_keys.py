"""Keys and what they allow."""

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import serve

from hogwild_dist.deploy.service.app import build_app
from hogwild_dist.deploy.service.config import Key
from hogwild_dist.deploy.service.errors import ApiError
from hogwild_dist.deploy.service.keys import Bucket, Keyring, new_key
from tests.deploy.service.conftest import wait_until

ANN, BEN, EVE, FAY = (new_key() for _ in range(4))
BODY = {"problem": "Count!", "max_tokens": 2, "answer_tokens": 2}


@pytest.fixture(scope="module")
def keyed(serve_url: str, arguments: dict[str, Any]) -> Iterator[str]:
    keys = [
        {"name": "ann", "sha256": ANN[1]},
        {"name": "ben", "sha256": BEN[1], "requests_per_minute": 3},
        {"name": "eve", "sha256": EVE[1], "tokens_per_minute": 400},
        {"name": "fay", "sha256": FAY[1], "tokens_per_minute": 4_000},
    ]
    serve.run(
        build_app({**arguments, "name": "keyed", "keys": keys}),
        name="keyed",
        route_prefix="/keyed",
    )
    yield f"{serve_url}/keyed"
    serve.delete("keyed")


def client(url: str, key: str | None) -> httpx.Client:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60)


@pytest.mark.parametrize("key", [None, "hw-nonsense", ANN[1]], ids=["none", "unknown", "hash"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/sessions"), ("GET", "/v1/sessions"), ("GET", "/v1/models"),
     ("POST", "/v1/chat/completions")],
)  # fmt: skip
def test_without_a_known_key_nothing_is_done(
    keyed: str, key: str | None, method: str, path: str
) -> None:
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
    body = {"json": chat if "chat" in path else BODY} if method == "POST" else {}
    reply = client(keyed, key).request(method, path, **body)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    why = "A key is needed" if key is None else "The key is unknown"
    assert why in reply.json()["error"]["message"]


def test_openai_s_client_shows_its_key(keyed: str) -> None:
    ann = openai.OpenAI(base_url=f"{keyed}/v1", api_key=ANN[0])
    assert [model.id for model in ann.models.list()] == ["tiny"]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{keyed}/v1", api_key="wrong").models.list()


def test_who_knows_the_name_reads_and_the_owner_alone_changes(keyed: str) -> None:
    ann, nobody, eve = client(keyed, ANN[0]), client(keyed, None), client(keyed, EVE[0])
    session = ann.post("/v1/sessions", json={**BODY, "max_tokens": 3_000}).json()["id"]
    assert nobody.get(f"/v1/sessions/{session}").status_code == 200
    assert nobody.post(f"/v1/sessions/{session}/cancel").status_code == 401
    assert nobody.delete(f"/v1/sessions/{session}").status_code == 401
    assert eve.delete(f"/v1/sessions/{session}").status_code == 403
    refused = eve.post(f"/v1/sessions/{session}/cancel")
    assert refused.status_code == 403
    assert "belongs to another key" in refused.json()["error"]["message"]
    assert session in [one["id"] for one in ann.get("/v1/sessions").json()["data"]]
    assert session not in [one["id"] for one in eve.get("/v1/sessions").json()["data"]]
    assert ann.post(f"/v1/sessions/{session}/cancel").status_code == 202


def test_too_many_requests_wait(keyed: str) -> None:
    ben = client(keyed, BEN[0])
    replies = [ben.post("/v1/sessions", json=BODY) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [201, 201, 201, 429]
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 21
    assert "has used up its requests" in replies[-1].json()["error"]["message"]
    assert ben.get("/v1/models").status_code == 200  # costs nothing


def test_tokens_of_sessions_that_nobody_follows_are_counted(keyed: str) -> None:
    fay = client(keyed, FAY[0])
    ask = {"problem": "Count!", "workers": 2, "max_tokens": 3_000, "answer_tokens": 2}
    assert fay.post("/v1/sessions", json=ask).status_code == 201

    def overdrawn() -> bool:
        """Whether more is missing than the prompts of the sessions opened here could explain."""
        reply = fay.post("/v1/sessions", json=BODY)
        return reply.status_code == 429 and int(reply.headers["retry-after"]) > 20

    assert wait_until(overdrawn, 60.0)


def test_tokens_are_counted_when_they_were_used(keyed: str) -> None:
    eve = openai.OpenAI(base_url=f"{keyed}/v1", api_key=EVE[0], max_retries=0)
    ask = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 9}
    assert eve.chat.completions.create(**ask).usage.total_tokens > 500
    with pytest.raises(openai.RateLimitError, match="has used up its tokens"):
        eve.chat.completions.create(**ask)


@given(
    st.integers(1, 1_000),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=30),
)
def test_an_allowance_is_never_exceeded(per_minute: int, asks: list[tuple[float, int]]) -> None:
    bucket, now, taken = Bucket(per_minute, at=0.0), 0.0, 0
    for passed, amount in asks:
        now += passed
        wait = bucket.wait(amount, now)
        assert wait >= 0
        if wait == 0 and amount <= per_minute:
            bucket.take(amount, now)
            taken += amount
        elif amount <= per_minute:
            assert bucket.wait(amount, now + wait + 1e-6) == pytest.approx(0, abs=1e-6)
            now += wait + 1e-6
    assert taken <= per_minute + now * per_minute / 60 + 1e-6


def test_a_key_is_kept_as_a_hash_only() -> None:
    key, digest = new_key()
    assert len(key) > 40
    assert digest == hashlib.sha256(key.encode()).hexdigest()
    ring = Keyring([Key(name="ann", sha256=digest)])
    assert ring.client(f"bearer {key}").name == "ann"
    for wrong in (None, key, f"Basic {key}", f"Bearer {key}x", "Bearer", "Bearer ü"):
        with pytest.raises(ApiError):
            ring.client(wrong)
    assert Keyring(()).client(None).name == "anybody"
