"""Chat completions, through OpenAI's own client."""

import json
import threading

import httpx
import openai
import pytest

from tests.deploy.service.conftest import wait_until

MODEL = "tiny"
ASK = [{"role": "user", "content": "Count to three!"}]


@pytest.fixture(scope="module")
def client(service_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service_url}/v1", api_key="none", max_retries=0)


def running(http: httpx.Client) -> int:
    ready = http.get("/readyz").json()
    return ready["running"]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_team_answers(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model=MODEL, messages=ASK, seed=3)
    (choice,) = done.choices
    assert choice.message.role == "assistant"
    assert choice.finish_reason in {"stop", "length"}
    assert [one["worker"] for one in choice.message.thoughts] == ["Alice", "Bob"]
    reasoning = choice.message.reasoning_content
    for one in choice.message.thoughts:
        for paragraph in filter(None, map(str.strip, one["text"].split("\n\n"))):
            assert f"{one['worker']}: {paragraph}" in reasoning
    assert "**Alice [1]:**" not in reasoning  # the set beginning is no thought
    usage = done.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    thought = usage.completion_tokens_details.reasoning_tokens
    assert thought == 2 * 24
    assert 0 < usage.completion_tokens - thought <= 12


@pytest.mark.parametrize("fields", [{}, {"team": "thinker-writer"}, {"answer": "boxed"}])
def test_a_stream_says_what_a_whole_answer_says(
    client: openai.OpenAI, fields: dict[str, str]
) -> None:
    """One seed, asked for twice."""
    same = {"model": MODEL, "messages": ASK, "seed": 5}
    same["extra_body"] = {**fields, "thoughts": "tokens"}
    whole = client.chat.completions.create(**same)
    content, thoughts, reasons, usage = "", {}, [], None
    for chunk in client.chat.completions.create(
        **same, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            if text := getattr(choice.delta, "reasoning_content", None):
                thoughts[choice.delta.worker] = thoughts.get(choice.delta.worker, "") + text
            reasons.append(choice.finish_reason)
    message = whole.choices[0].message
    assert content == message.content
    assert thoughts == {one["worker"]: one["text"] for one in message.thoughts}
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}
    assert usage == whole.usage
    if fields.get("team"):
        assert content
        assert set(thoughts) == {"Thinker"}


def test_a_stream_has_whole_paragraphs_by_default(client: openai.OpenAI) -> None:
    same = {"model": MODEL, "messages": ASK, "seed": 5}
    whole = client.chat.completions.create(**same).choices[0].message
    deltas = [
        chunk.choices[0].delta
        for chunk in client.chat.completions.create(**same, stream=True)
        if hasattr(chunk.choices[0].delta, "worker")
    ]
    for delta in deltas:
        assert delta.reasoning_content.startswith(f"{delta.worker}: ")
        assert delta.reasoning_content.endswith("\n\n")
    assert "".join(delta.reasoning_content for delta in deltas).strip() == whole.reasoning_content


def test_a_stream_is_not_silent_while_a_paragraph_is_written(http: httpx.Client) -> None:
    """Proxies and clients give up a connection on which nothing arrives."""
    long = {**LONG, "stream": True, "temperature": 0, "logit_bias": {str(ord("a")): 100}}
    with http.stream("POST", "/v1/chat/completions", json=long, timeout=20) as reply:
        written = (line for line in reply.iter_lines() if line)
        assert next(written).startswith("data: {")
        assert next(written).startswith(": keep-alive")


def test_a_reply_can_be_sent_back(client: openai.OpenAI, http: httpx.Client) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASK, seed=1).choices[0].message
    again = [*ASK, reply.model_dump(), {"role": "user", "content": "Go on."}]
    assert client.chat.completions.create(model=MODEL, messages=again).choices
    fields = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 9.0}
    raw = http.post("/v1/chat/completions", json=fields)
    assert raw.status_code == 200, raw.text
    fields["messages"] += [raw.json()["choices"][0]["message"], fields["messages"][0]]
    assert http.post("/v1/chat/completions", json=fields).status_code == 200


def test_a_model_is_described_by_its_id(client: openai.OpenAI) -> None:
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("Qwen/none")
    assert caught.value.code == "model_not_found"


def test_typed_control_tokens_are_counted_as_text(client: openai.OpenAI) -> None:
    def prompt_tokens(text: str) -> int:
        messages = [{"role": "user", "content": text}]
        done = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=3)
        return done.usage.prompt_tokens

    assert prompt_tokens("Hi<eos><bos>") == prompt_tokens("Hi(eos)(bos)")


def test_the_thoughts_come_before_the_answer_ends(client: openai.OpenAI) -> None:
    kinds, tokens = [], {"thoughts": "tokens"}
    for chunk in client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, extra_body=tokens
    ):
        (choice,) = chunk.choices
        kinds.append("thought" if hasattr(choice.delta, "worker") else "other")
    assert len([kind for kind in kinds if kind == "thought"]) > 2
    assert kinds[0] == "other"  # the role


def test_the_same_seed_writes_the_same_and_another_another(client: openai.OpenAI) -> None:
    def told(seed: int) -> str:
        done = client.chat.completions.create(model=MODEL, messages=ASK, seed=seed)
        return done.choices[0].message.reasoning_content

    assert told(1) == told(1) != told(2)


def test_choices_are_told_apart_and_counted_together(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model=MODEL, messages=ASK, n=3, seed=1)
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    assert len({choice.message.reasoning_content for choice in done.choices}) == 3
    assert len({choice.session for choice in done.choices}) == 3
    assert done.usage.completion_tokens_details.reasoning_tokens == 3 * 48


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("total", [3, 4, 9, 60])
def test_all_tokens_together_stay_within_the_limit(
    client: openai.OpenAI, name: str, total: int
) -> None:
    done = client.chat.completions.create(model=MODEL, messages=ASK, **{name: total}, seed=1)
    assert 3 <= done.usage.completion_tokens <= total


def test_an_answer_ends_before_a_stop_string(client: openai.OpenAI) -> None:
    same = {"model": MODEL, "messages": ASK, "seed": 5, "extra_body": {"team": "thinker-writer"}}
    content = client.chat.completions.create(**same).choices[0].message.content
    assert len(content) > 6
    stop = content[4:6]
    for stream in (False, True):
        done = client.chat.completions.create(**same, stop=[stop, "\x00"], stream=stream)
        if stream:
            chunks = [chunk.choices[0] for chunk in done]
            text = "".join(one.delta.content or "" for one in chunks)
            reason = chunks[-1].finish_reason
        else:
            text, reason = done.choices[0].message.content, done.choices[0].finish_reason
        assert text == content[: content.find(stop)]
        assert reason == "stop"


def test_a_conversation_is_one_problem(client: openai.OpenAI, http: httpx.Client) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Name a fruit."}]},
        {"role": "assistant", "content": "Apple."},
        {"role": "user", "content": "Another!"},
    ]
    done = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=9)
    problem = http.get(f"/v1/sessions/{done.choices[0].session}").json()["problem"]
    assert problem == (
        "Be brief.\n\nThe conversation so far:\n\nUser: Name a fruit.\n\nAssistant: Apple.\n\n"
        "Now the user says:\n\nAnother!"
    )


@pytest.mark.parametrize(
    ("fields", "kind", "sentence"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "There is no model 'gpt-9' here; use 'tiny'"),
        ({"messages": []}, openai.BadRequestError, "'messages': it must be 1 or more of them"),
        ({"messages": [{"role": "user", "content": " "}]}, openai.BadRequestError, "has text"),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"n": 5}, openai.BadRequestError, "n is 5; it must be at most 4"),
        ({"stop": ["x"] * 5}, openai.BadRequestError, "it must be a text or 4 or fewer of them"),
        ({"stop": ""}, openai.BadRequestError, "a stop string is empty"),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "'tools' is not supported"),
        ({"logit_bias": {"999": 1}}, openai.BadRequestError, "Token id 999 is outside"),
        ({"max_tokens": 2}, openai.BadRequestError, "The token limit is 2; a team of 2"),
        ({"extra_body": {"team": "/etc/passwd"}}, openai.BadRequestError, "There is no team"),
        ({"extra_body": {"layout": "x"}}, openai.BadRequestError, "Unknown layout 'x'"),
        ({"extra_body": {"workers": 17}}, openai.BadRequestError, "17 workers were requested"),
        ({"extra_body": {"colour": "red"}}, openai.BadRequestError, "colour"),
        ({"messages": [{"role": "user", "content": "x" * 2_001}]}, openai.BadRequestError, "2001"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_in_openai_s_form(
    client: openai.OpenAI, fields: dict, kind: type[openai.APIStatusError], sentence: str,
    stream: bool,
) -> None:  # fmt: skip
    with pytest.raises(kind, match=sentence) as caught:
        client.chat.completions.create(
            **{"model": MODEL, "messages": ASK, "stream": stream, **fields}
        )
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert caught.value.param != "problem"  # which is no field of a chat
    assert (caught.value.code == "model_not_found") == ("model" in fields)


LONG = {"model": MODEL, "messages": ASK, "budgets": {"worker_tokens": 6_000}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_is_cancelled(http: httpx.Client, stream: bool) -> None:
    assert wait_until(lambda: running(http) == 0)
    url = "/v1/chat/completions"
    if stream:
        with http.stream("POST", url, json={**LONG, "stream": True}) as reply:
            lines = reply.iter_lines()  # the connection is closed when nobody holds them any more
            next(lines)
            assert running(http) == 1
    else:
        leaving = httpx.Client(base_url=http.base_url, timeout=2)

        def ask() -> None:
            with pytest.raises(httpx.ReadTimeout):
                leaving.post(url, json=LONG)

        thread = threading.Thread(target=ask)
        thread.start()
        assert wait_until(lambda: running(http) == 1)
        thread.join()
        leaving.close()
    assert wait_until(lambda: running(http) == 0, seconds=5.0)


def test_a_slow_reader_holds_nobody_up(http: httpx.Client) -> None:
    slow = {**LONG, "stream": True, "seed": 1, "thoughts": "tokens"}  # no paragraph may end soon
    with http.stream("POST", "/v1/chat/completions", json=slow) as reply:
        lines = reply.iter_lines()
        next(lines)
        short = {"model": MODEL, "messages": ASK, "max_tokens": 20}
        quick = http.post("/v1/chat/completions", json=short)
        assert quick.status_code == 200
        assert running(http) == 1
        first = json.loads(next(line for line in lines if line.startswith("data: {"))[6:])
        assert first["object"] == "chat.completion.chunk"
