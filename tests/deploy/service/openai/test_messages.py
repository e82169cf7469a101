"""Messages that clients send, and what becomes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hogwild_dist.deploy.service.openai.completion import problem_of
from hogwild_dist.deploy.service.openai.messages import Message
from hogwild_dist.deploy.service.openai.schema import ChatRequest

USER = {"role": "user", "content": "Why?"}
CALLS = [{"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]


def problem(*messages: dict[str, Any]) -> str:
    return problem_of([Message.model_validate(one) for one in messages])


@given(st.text(), st.none() | st.text(), st.lists(st.fixed_dictionaries({"worker": st.text()})))
def test_a_reply_of_this_service_is_accepted(content: str, reasoning: str | None, thoughts) -> None:
    reply = {
        "role": "assistant", "content": content, "refusal": None, "annotations": [],
        "audio": None, "function_call": None, "tool_calls": None,
        "reasoning_content": reasoning, "thoughts": thoughts, "worker": "Alice",
    }  # fmt: skip
    assert Message.model_validate(reply).text == content


def test_calls_of_tools_are_text_of_the_conversation() -> None:
    asked = {"role": "assistant", "content": None, "tool_calls": CALLS}
    told = {"role": "tool", "tool_call_id": "c", "content": "42"}
    assert problem(USER, asked, told, {"role": "user", "content": "And now?"}) == (
        "The conversation so far:\n\nUser: Why?\n\nAssistant: (called add with "
        '{"a": 1})\n\nTool: 42\n\nNow the user says:\n\nAnd now?'
    )
    assert problem(USER, asked, told) == (
        'Why?\n\nWhat was written since then:\n\nAssistant: (called add with {"a": 1})\n\nTool: 42'
    )
    custom = {"role": "assistant", "tool_calls": [{"custom": {"name": "sh", "input": "ls"}}]}
    assert "(called sh with ls)" in problem(USER, custom, USER)
    old = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    assert "(called f with {})" in problem(USER, old, {"role": "function", "name": "f"}, USER)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "Image"),
        ({"type": "input_image"}, "Image"),
        ({"type": "input_audio", "input_audio": {}}, "Audio"),
        ({"type": "file", "file": {}}, "File"),
    ],
)
def test_other_parts_are_refused_by_name(part: dict[str, Any], kind: str) -> None:
    with pytest.raises(ValidationError, match=f"{kind} parts .* are not supported here; send text"):
        Message.model_validate({"role": "user", "content": [{"type": "text", "text": "a"}, part]})


def test_hints_on_text_parts_are_ignored() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    refusal = {"type": "refusal", "refusal": "no"}
    assert Message.model_validate({"role": "user", "content": [part, refusal]}).text == "ano"
    refused = {"role": "assistant", "content": None, "refusal": "I cannot do that."}
    assert Message.model_validate(refused).text == "I cannot do that."


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": None, "stream": None, "stop": None, "n": None, "budgets": None},
        {"top_p": 0, "max_tokens": 256.0, "logit_bias": {"3": -100}, "seed": 0},
        {"tools": [], "tool_choice": "none"},
        {"tool_choice": "auto"},
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"user": "u", "metadata": {}, "store": True, "reasoning_effort": "high"},
        {"response_format": {"type": "text"}, "frequency_penalty": 0.0},
    ],
)
def test_what_openai_s_clients_send_is_accepted(fields: dict[str, Any]) -> None:
    ChatRequest.model_validate({"model": "m", "messages": [USER], **fields})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tools": [{"type": "function"}]}, "'tools' is not supported here"),
        ({"tool_choice": "required"}, "'tool_choice' is not supported here"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"logit_bias": {"3": 101}}, "logit_bias"),
        ({"messages": [{**USER, "colour": "red"}]}, "colour"),
        ({"messages": None}, "messages"),
    ],
)
def test_what_is_out_of_range_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ChatRequest.model_validate({"model": "m", "messages": [USER], **fields})
