"""Chat completions: session parameters from a request, and OpenAI's objects from its choices."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment

from hogwild_dist import SamplingConfig
from hogwild_dist.deploy.service.config import Defaults
from hogwild_dist.deploy.service.openai.choice import AnswerDelta, Choice, ThoughtDelta
from hogwild_dist.deploy.service.openai.messages import Message
from hogwild_dist.deploy.service.openai.schema import ChatRequest
from hogwild_dist.deploy.service.sessions.session_params import SessionParams

_CONVERSATION = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
    resources.files("hogwild_dist.deploy.service.openai")
    .joinpath("conversation.jinja")
    .read_text(encoding="utf-8")
)

TOP_P_FLOOR = 1e-9
"""OpenAI allows 0, which keeps the likeliest token alone, as this does."""

_INSTRUCTING = ("system", "developer")
"""Roles of messages that instruct the model, at any place in a chat."""


def problem_of(messages: Sequence[Message]) -> str:
    """Return a chat as one problem: its only message, or the conversation in words."""
    turns = [one for one in messages if one.role not in _INSTRUCTING]
    last = max(index for index, one in enumerate(turns) if one.role == "user" and one.text.strip())
    return _CONVERSATION.render(
        system="\n\n".join(one.text for one in messages if one.role in _INSTRUCTING).strip(),
        earlier=turns[:last],
        last=turns[last].text,
        later=turns[last + 1 :],
    ).strip()


def params_of(request: ChatRequest, defaults: Defaults, choice: int) -> SessionParams:
    """Return the session parameters of one choice of a request."""
    seed = uuid.uuid4().int % 2**62 if request.seed is None else request.seed
    return SessionParams(
        problem=problem_of(request.messages),
        team=request.team,
        workers=request.workers,
        layout=request.layout,
        max_tokens=request.budgets.worker_tokens,
        answer_tokens=request.budgets.answer_tokens,
        total_tokens=request.total_tokens,
        answer=request.answer,
        sampling=sampling_of(request, defaults),
        seed=seed + choice,
    )


def sampling_of(request: Any, defaults: Defaults) -> SamplingConfig:
    """Return the sampling of a request, with the service's defaults for missing fields."""

    def given(name: str, default: float) -> float:
        value = getattr(request, name)
        return default if value is None else value

    bias = request.logit_bias or {}
    return SamplingConfig(
        temperature=given("temperature", defaults.temperature),
        top_p=max(given("top_p", defaults.top_p), TOP_P_FLOOR),
        top_k=request.top_k or 0,
        min_p=request.min_p or 0.0,
        repetition_penalty=given("repetition_penalty", defaults.repetition_penalty),
        logit_bias={int(token): value for token, value in bias.items()},
    )


@dataclass(slots=True)
class Completion:
    """One chat completion.

    Attributes:
        model: model name in the request.
        choices: choices in order of their index.
        id: id of the completion.
        created: creation time in seconds since the Unix epoch.
    """

    model: str
    choices: Sequence[Choice]
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def num_prompt(self) -> int:
        """Number of prompt tokens; all choices share one prompt."""
        return self.choices[0].opened.prompt_tokens

    @property
    def num_completion(self) -> int:
        """Number of chosen tokens, including thoughts."""
        return sum(choice.num_chosen for choice in self.choices)

    def usage(self) -> dict[str, Any]:
        """Return the token usage of all choices."""
        prompt, completion = self.num_prompt, self.num_completion
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {
                "reasoning_tokens": sum(choice.num_thought for choice in self.choices)
            },
        }

    def whole(self) -> dict[str, Any]:
        """Return the response to a request without streaming."""
        return {
            **self._head("chat.completion"),
            "choices": [
                {
                    "index": index,
                    "message": {
                        "role": "assistant",
                        "content": choice.content,
                        "refusal": None,
                        "reasoning_content": choice.reasoning.strip(),
                        "thoughts": [
                            {"worker": worker, "text": text}
                            for worker, text in choice.thoughts.items()
                        ],
                    },
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                    "session": str(choice.opened.id),
                }
                for index, choice in enumerate(self.choices)
            ],
            "usage": self.usage(),
        }

    def opening(self, index: int) -> dict[str, Any]:
        """Return the first chunk of a choice."""
        session = str(self.choices[index].opened.id)
        return self._chunk(index, {"role": "assistant", "content": ""}, session=session)

    def chunk(self, index: int, delta: ThoughtDelta | AnswerDelta) -> dict[str, Any]:
        """Return a chunk with new text."""
        if isinstance(delta, ThoughtDelta):
            fields = {"reasoning_content": delta.text, "worker": delta.worker}
            return self._chunk(index, fields)
        return self._chunk(index, {"content": delta.text})

    def closing(self, index: int) -> dict[str, Any]:
        """Return the last chunk of a choice."""
        return self._chunk(index, {}, finish_reason=self.choices[index].finish_reason)

    def usage_chunk(self) -> dict[str, Any]:
        """Return the chunk with the usage, which follows all choices."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def _chunk(
        self, index: int, delta: dict[str, str], finish_reason: str | None = None, **more: str
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [{**choice, **more}]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}
