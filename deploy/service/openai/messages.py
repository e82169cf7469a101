"""Schema of a chat's messages: all that OpenAI's clients send and that this service replies."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

IGNORED = (
    "annotations", "audio", "cache_control", "id", "provider_specific_fields", "reasoning",
    "reasoning_content", "reasoning_details", "refusal", "thoughts", "worker",
)  # fmt: skip
"""Fields of replies that clients send back and that are no part of the conversation."""

PARTS = {
    **dict.fromkeys(("image", "image_url", "input_image"), "Image"),
    **dict.fromkeys(("audio", "input_audio"), "Audio"),
    **dict.fromkeys(("video", "video_url", "input_video"), "Video"),
    **dict.fromkeys(("file", "input_file", "document"), "File"),
}
"""Types of parts that are refused -> their name."""


class TextPart(BaseModel):
    """A text part of a message; a refusal counts as text."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _known_part(cls, fields: Any) -> Any:
        """Refuse other kinds of parts by name, and drop hints that do not change the text."""
        if not isinstance(fields, dict):
            return fields
        kind = fields.get("type")
        if isinstance(kind, str) and kind in PARTS:
            raise ValueError(f"{PARTS[kind]} parts ({kind!r}) are not supported here; send text")
        if kind == "refusal" and "refusal" in fields:
            fields = {**fields, "text": fields["refusal"]}
        dropped = ("cache_control", "annotations", "logprobs", "refusal")
        return {name: value for name, value in fields.items() if name not in dropped}


class FunctionCall(BaseModel):
    """A call of a function, as a model asked for it."""

    model_config = ConfigDict(extra="allow")

    name: str
    arguments: str = ""

    @property
    def text(self) -> str:
        """The call in words."""
        return f"(called {self.name} with {self.arguments})"


class CustomCall(BaseModel):
    """A call of a tool that takes any text."""

    model_config = ConfigDict(extra="allow")

    name: str
    input: str = ""


class ToolCall(BaseModel):
    """A call of a tool, as a model asked for it."""

    model_config = ConfigDict(extra="allow")

    function: FunctionCall | None = None
    custom: CustomCall | None = None

    @property
    def text(self) -> str:
        """The call in words."""
        if self.function is not None:
            return self.function.text
        return (
            "" if self.custom is None else f"(called {self.custom.name} with {self.custom.input})"
        )


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1_000)] = []
    function_call: FunctionCall | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_says_nothing(cls, fields: Any) -> Any:
        """Drop nulls, and the fields of replies that are no part of the conversation.

        A refusal takes the place of content that is missing.
        """
        if not isinstance(fields, dict):
            return fields
        if fields.get("content") is None:
            fields = {**fields, "content": fields.get("refusal")}
        return {
            name: value
            for name, value in fields.items()
            if value is not None and name not in IGNORED
        }

    @property
    def text(self) -> str:
        """All text of the message, with calls of tools in words."""
        content = self.content or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        called = [call.text for call in self.tool_calls]
        called += [self.function_call.text] if self.function_call is not None else []
        return "\n".join(filter(None, (content, *called)))
