"""The native interface: follow, resume, speak, join, leave, cancel, trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hogwild_dist import EngineConfig, load
from hogwild_dist.run.trace.reader import read_trace
from hogwild_dist.run.trace.replay import replay_fed
from tests.deploy.service.conftest import wait_until

LONG = {"problem": "Count for ever!", "max_tokens": 6_000, "answer_tokens": 4}
SHORT = {"problem": "Count to three!", "max_tokens": 20, "seed": 2}


def opened(http: httpx.Client, **fields: Any) -> str:
    reply = http.post("/v1/sessions", json={**SHORT, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def followed(http: httpx.Client, session: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
    """Kind, id and data of each event."""
    with http.stream("GET", f"/v1/sessions/{session}/events", headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}


def ended(http: httpx.Client, session: str) -> dict[str, Any]:
    *_, (kind, _, end) = followed(http, session)
    assert kind == "end"
    return end


def inner(events: list[tuple[str, str, Any]], kind: str) -> list[dict[str, Any]]:
    return [e for _, _, data in events for e in data.get("events", []) if e["type"] == kind]


def test_a_session_goes_on_by_itself_and_can_be_read(http: httpx.Client) -> None:
    session = opened(http)
    end = ended(http, session)
    whole = http.get(f"/v1/sessions/{session}").json()
    assert whole["state"] == end["state"] == "ended"
    assert whole["end_reason"] == "all_stopped"
    assert (whole["team"], whole["layout"]) == ("peers", "combined")
    assert [worker["name"] for worker in whole["workers"]] == ["Alice", "Bob"]
    assert [worker["num_tokens"] for worker in whole["workers"]] == [20, 20]
    assert {worker["finish_reason"] for worker in whole["workers"]} == {"max_tokens"}
    assert whole["answer"] == end["answer"]
    seen = whole["views"][0]["sees"]
    assert [one["kind"] for one in seen] == ["shared", "shared", "worker", "shared", "own"]
    assert [one["worker"] for one in seen] == [None, None, "Bob", None, "Alice"]
    listed = http.get("/v1/sessions").json()["data"]
    assert listed[0]["id"] == session


def test_events_are_numbered_and_resume_behind_any_of_them(http: httpx.Client) -> None:
    session = opened(http)
    events = [one for one in followed(http, session) if one[0] != "waiting"]
    numbers = [int(number) for kind, number, _ in events if kind == "update"]
    assert numbers == list(range(1, len(numbers) + 1))
    texts = [e["text"] for e in inner(events, "text") if e["name"] == "Alice"]
    (alice, _) = http.get(f"/v1/sessions/{session}").json()["workers"]
    assert "".join(texts) == alice["text"]
    for last in (0, 1, 7, len(numbers), 10**9):
        rest = list(followed(http, session, **{"Last-Event-ID": str(last)}))
        assert rest == events[last:] or (last >= len(numbers) and rest == events[-1:])
    after = http.get(f"/v1/sessions/{session}/events", params={"after": 7}).text
    assert "id: 7\n" not in after
    assert "id: 8\n" in after


def test_an_event_that_is_not_written_yet_is_waited_for(http: httpx.Client) -> None:
    """Such as one that was shown, and lost with its group before it was on disk."""
    session = opened(http, **LONG)
    events = followed(http, session, **{"Last-Event-ID": "40"})
    numbers = (number for kind, number, _ in events if kind == "update")
    assert next(numbers) == "41"
    assert http.delete(f"/v1/sessions/{session}").status_code == 204


@pytest.mark.parametrize("last", ["9" * 5_000, "-1", "x", "\u00b2", "1_0", ""])
def test_an_event_id_that_is_none_is_ignored(http: httpx.Client, last: str) -> None:
    session = opened(http)
    ended(http, session)
    url = f"/v1/sessions/{session}/events"
    reply = http.get(url, headers={"Last-Event-ID": last.encode("latin-1")})
    assert reply.status_code == 200
    assert reply.text == http.get(url).text


def test_a_person_speaks_and_workers_come_and_go(http: httpx.Client) -> None:
    session = opened(http, **LONG)
    events = []
    said = joined = left = False
    for one in followed(http, session):
        events.append(one)
        if inner([one], "text") and not said:
            words = {"text": "Hurry!", "speaker": "Eve"}
            assert http.post(f"/v1/sessions/{session}/messages", json=words).status_code == 202
            said = True
        if inner([one], "interjection") and not joined:
            carol = {"name": "Carol", "role": "checks", "brief": "Be short."}
            assert http.post(f"/v1/sessions/{session}/workers", json=carol).status_code == 202
            joined = True
        if inner([one], "joined") and not left:
            unknown = http.delete(f"/v1/sessions/{session}/workers/Nobody")
            assert unknown.status_code == 404
            assert "use one of Alice, Bob, Carol" in unknown.json()["error"]["message"]
            assert http.delete(f"/v1/sessions/{session}/workers/Bob").status_code == 202
            assert http.post(f"/v1/sessions/{session}/cancel").status_code == 202
            left = True
    spoken, told = inner(events, "interjection")
    assert "Hurry!" in spoken["text"]
    assert "**Carol** joins the team: checks" in told["text"]
    (carol,) = inner(events, "joined")
    assert (carol["name"], carol["role"]) == ("Carol", "checks")
    assert events[-1][2]["end_reason"] == "cancelled"
    whole = http.get(f"/v1/sessions/{session}").json()
    assert [worker["name"] for worker in whole["workers"]] == ["Alice", "Bob", "Carol"]
    assert whole["workers"][2]["role"] == "checks"
    own = whole["views"][2]["sees"][-1]
    assert own == {"block": f"w{carol['worker']}", "kind": "own", "worker": "Carol"}
    assert carol["worker"] == 3, "after the finisher"
    assert "Hurry!" in whole["history"]
    late = [
        http.post(f"/v1/sessions/{session}/messages", json={"text": "Too late"}),
        http.post(f"/v1/sessions/{session}/workers", json={"name": "Dan"}),
        http.delete(f"/v1/sessions/{session}/workers/Alice"),
        http.post(f"/v1/sessions/{session}/cancel"),
    ]
    assert [reply.status_code for reply in late] == [409] * 4
    assert "has ended; open a new one" in late[0].json()["error"]["message"]
    assert len(http.get("/v1/sessions", params={"limit": 1}).json()["data"]) == 1
    assert http.get("/v1/sessions", params={"limit": 0}).status_code == 400


def test_a_deleted_session_is_gone_for_all(http: httpx.Client) -> None:
    """One that has ended, and one that runs: who follows it is told, and its shards end it."""
    over, going_on = opened(http), opened(http, **LONG)
    ended(http, over)
    events = followed(http, going_on)
    while not inner([next(events)], "text"):
        pass
    for session in (over, going_on):
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        for path in ("", "/events", "/trace"):
            assert http.get(f"/v1/sessions/{session}{path}").status_code == 404
        assert http.delete(f"/v1/sessions/{session}").status_code == 404
    *_, (kind, _, end) = events
    assert (kind, end["state"]) == ("end", "failed")
    assert end["error"] == f"There is no session {going_on!r} any more."
    listed = [one["id"] for one in http.get("/v1/sessions").json()["data"]]
    assert not {over, going_on} & set(listed)
    assert wait_until(lambda: http.get("/readyz").json()["running"] == 0)


def test_a_trace_can_be_fetched_and_replayed(
    http: httpx.Client, roomy_dir: Path, tmp_path: Path
) -> None:
    going_on = opened(http, **LONG, trace=True)
    early = http.get(f"/v1/sessions/{going_on}/trace")
    assert early.status_code == 409
    http.post(f"/v1/sessions/{going_on}/cancel")
    session = opened(http, trace=True)
    ended(http, session)
    path = tmp_path / "trace.json"
    path.write_bytes(http.get(f"/v1/sessions/{session}/trace").content)
    trace = read_trace(path)
    engine = load(str(roomy_dir), dtype="float64", config=EngineConfig(cache_tokens=8_192))
    rows = list(replay_fed(trace, engine))
    assert len(rows) > 40
    assert max(row.difference for row in rows) < 1e-4  # the angles are float32
    assert all(row.agrees(1e-4) for row in rows)
    unrecorded = opened(http)
    ended(http, unrecorded)
    missing = http.get(f"/v1/sessions/{unrecorded}/trace")
    assert missing.status_code == 404
    assert '"trace": true' in missing.json()["error"]["message"]


@pytest.mark.parametrize("path", ["", "/events", "/trace"])
@pytest.mark.parametrize(
    "name", ["x", "g0-1-" + "a" * 22, "g0-99999-" + "a" * 22, "g9-1-" + "a" * 22, "g0-1-", "%00"]
)
def test_an_unknown_session_is_not_found(http: httpx.Client, name: str, path: str) -> None:
    reply = http.get(f"/v1/sessions/{name}{path}")
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"problem": "  "}, "The problem is empty"),
        ({"problem": "x" * 2_001}, "The problem has 2001 characters; it must have at most 2000"),
        ({"problem": "\ud800"}, "is not a character"),
        ({"team": "../x"}, "There is no team '../x' here"),
        ({"workers": 0}, "workers"),
        ({"max_tokens": 6_001}, "max_tokens is 6001; it must be from 1 to 6000"),
        ({"answer": "(a+)+"}, "answer"),
        ({"team": "debate", "workers": 1}, "has 2 roles"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    http: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    body = json.dumps({**SHORT, **fields})
    reply = http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]["message"]


def test_a_body_that_is_too_large_or_none_is_refused(http: httpx.Client) -> None:
    json_header = {"Content-Type": "application/json"}
    large = http.post("/v1/sessions", content=b"x" * 1_000_001, headers=json_header)
    assert large.status_code == 413
    assert large.json()["error"]["message"]

    def endless() -> Iterator[bytes]:
        for _ in range(1_100):
            yield b"x" * 1_000

    assert http.post("/v1/sessions", content=endless(), headers=json_header).status_code == 413
    for text in (b"{", b"no JSON"):
        broken = http.post("/v1/sessions", content=text, headers=json_header)
        assert broken.status_code == 400
        error = broken.json()["error"]
        assert error["message"] == "The request is invalid: it is not JSON."
        assert (error["type"], error["param"]) == ("invalid_request_error", None)


def test_a_wrong_parameter_of_an_address_is_named(http: httpx.Client) -> None:
    name = http.post("/v1/sessions", json=SHORT).json()["id"]
    error = http.get(f"/v1/sessions/{name}/events?after=-4").json()["error"]
    assert error["message"] == "The request is invalid at 'after': it must be 0 or more."
    assert error["param"] == "after"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_any_web_page_could_send_is_refused(
    http: httpx.Client, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    reply = http.post("/v1/sessions", content=json.dumps(SHORT), headers=headers)
    assert reply.status_code == 415
    assert "Content-Type: application/json" in reply.json()["error"]["message"]


def test_every_response_carries_the_headers_of_safety(http: httpx.Client) -> None:
    for path in ("/", "/v1/info", "/page/main.js", "/nowhere", "/v1/sessions/x"):
        headers = http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_what_the_service_offers(http: httpx.Client) -> None:
    info = http.get("/v1/info").json()
    assert (info["model"], info["visibility"], info["needs_key"]) == ("tiny", "same-step", False)
    assert {"peers", "debate"} <= {team["name"] for team in info["teams"]}
    (critic,) = [team for team in info["teams"] if team["name"] == "solver-critic"]
    assert critic["workers"] == ["Solver", "Critic"]
    fixed = {team["name"]: team["fixed"] for team in info["teams"]}
    assert (fixed["debate"], fixed["peers"]) == (True, False)
