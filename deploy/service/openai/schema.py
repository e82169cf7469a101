"""Schema of a chat request: OpenAI's fields, and fields about teams."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hogwild_dist.config import MAX_TOP_K
from hogwild_dist.deploy.service.openai.messages import Message
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.stop_strings import MAX_CHARS

UNSUPPORTED = {
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
}
"""OpenAI's unsupported fields -> values that are accepted, since they ask for nothing."""

IGNORED = ("user", "store", "metadata", "service_tier", "parallel_tool_calls", "safety_identifier",
           "prompt_cache_key", "prompt_cache_retention", "reasoning_effort",
           "verbosity")  # fmt: skip
"""OpenAI's fields that are accepted and ignored, since they do not change the answer."""

REQUIRED = ("model", "messages")

Size = Annotated[int, Field(ge=1, le=2**31)]
StopString = Annotated[str, Field(max_length=MAX_CHARS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StreamOptions(_Part):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Budgets(_Part):
    """Token limits.

    Attributes:
        worker_tokens: token limit of each worker.
        answer_tokens: token limit of the answer.
    """

    worker_tokens: Size | None = None
    answer_tokens: Size | None = None


class ChatRequest(BaseModel):
    """A request for a chat completion; the fields from `team` on are this service's extensions."""

    model_config = ConfigDict(extra="forbid")

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1_000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Size | None = None
    max_completion_tokens: Size | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    n: Size | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None
    logit_bias: (
        dict[
            Annotated[str, Field(pattern=r"^[0-9]{1,9}$")],
            Annotated[float, Field(ge=-100, le=100)],
        ]
        | None
    ) = None

    team: str | None = None
    workers: Size | None = None
    layout: str | None = None
    budgets: Budgets = Budgets()
    answer: Literal[FormKind.TEXT, FormKind.BOXED, FormKind.CODE] = FormKind.TEXT
    thoughts: Literal["paragraphs", "tokens"] = "paragraphs"
    top_k: Annotated[int | None, Field(ge=0, le=MAX_TOP_K)] = None
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10)] = None

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, fields: Any) -> Any:
        """Refuse unsupported fields by name, and drop ignored ones."""
        if not isinstance(fields, dict):
            return fields
        calls_nothing = fields.get("tool_choice") == "none"
        for name, harmless in UNSUPPORTED.items():
            if name in fields and fields[name] not in harmless:
                if name == "tools" and calls_nothing:
                    continue
                raise ValueError(f"{name!r} is not supported here; leave it out")
        dropped = {*UNSUPPORTED, *IGNORED}
        return {
            name: value
            for name, value in fields.items()
            if name not in dropped and (value is not None or name in REQUIRED)
        }

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if stop == "" or (isinstance(stop, list) and "" in stop):
            raise ValueError("a stop string is empty; leave it out or give it text")
        return stop

    @field_validator("messages")
    @classmethod
    def _has_user_text(cls, messages: list[Message]) -> list[Message]:
        if not any(one.role == "user" and one.text.strip() for one in messages):
            raise ValueError("no user message has text; say what the team should work on")
        return messages

    @property
    def stops(self) -> tuple[str, ...]:
        """All stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def total_tokens(self) -> int | None:
        """Token limit of one choice, including thoughts."""
        given = [one for one in (self.max_tokens, self.max_completion_tokens) if one is not None]
        return min(given, default=None)
