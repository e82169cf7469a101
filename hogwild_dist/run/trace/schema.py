"""The schema of a trace file. docs/traces.md says what the fields mean."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hogwild_dist.config import Visibility
from hogwild_dist.session.answers import FormKind
from hogwild_dist.team.user_files import first_fault

TokenId = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**62)]
Text = Annotated[str, Field(strict=True)]
Real = Annotated[float, Field(strict=True)]

MOVES = frozenset({"step_end", "step_end_and_stop", "paragraph_end"})
"""Event types that move tokens to another block; the first two belong to format 1."""


class _Part(BaseModel):
    """A part of a trace; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class Prefill(_Part):
    """A shared block, encoded before the first step."""

    ids: list[TokenId]
    text: Text = ""


class Sampling(_Part):
    """The fields of `SamplingConfig`, which checks their ranges itself."""

    model_config = ConfigDict(extra="forbid")
    temperature: Real
    top_p: Real
    top_k: Count
    min_p: Real
    repetition_penalty: Real
    forbidden_ids: list[TokenId]
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Real]


class Event(_Part):
    """An event that followed a step; a replay uses moves alone."""

    type: Text
    worker: Count | None = None
    from_block: Text | None = None
    to_block: Text | None = None
    moved: Count | None = None
    step_tokens: list[TokenId] | None = None
    text: Text | None = None
    next_input: list[TokenId] | None = None
    s1: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        required = (self.worker, self.from_block, self.moved, self.step_tokens, self.text)
        if self.type in MOVES and None in required:
            raise ValueError("a move needs worker, from_block, moved, step_tokens and text")
        return self


class Step(_Part):
    """One step; each list has one entry for each active worker."""

    input_ids: list[list[TokenId]]
    active: list[Count] | None = None
    top_ids: list[Annotated[list[TokenId], Field(min_length=1)]]
    top_logits: list[list[Real]]
    margin: list[Real]
    new: list[TokenId | None]
    greedy: list[TokenId] | None = None
    block_len: dict[str, Count] = Field(default_factory=dict)
    since_s1: Count | None = None
    before: list[dict[str, Any]] = Field(default_factory=list)
    during: list[dict[str, Any]] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)

    @model_validator(mode="after")
    def _same_width(self) -> Self:
        if [len(row) for row in self.top_ids] != [len(row) for row in self.top_logits]:
            raise ValueError("top_ids and top_logits differ in length")
        if self.greedy is not None and len(self.greedy) != len(self.new):
            raise ValueError("greedy and new differ in length")
        if self.greedy is None and None in self.new:
            raise ValueError("new has a null, which needs greedy")
        return self


class Finisher(_Part):
    """A worker that states an answer on request."""

    of: Count | None
    name: Text
    view: list[Text]
    first_input: list[TokenId]
    max_tokens: Count | None
    newcomers_at: Count | None = None
    sampling: Sampling | None = None


class Finish(_Part):
    """How the session reaches an answer."""

    form: FormKind
    pattern: Text
    by: list[Count]
    each: Annotated[bool, Field(strict=True)]
    budgets: list[Count]
    finishers: list[Finisher]


class Params(_Part):
    """How the session is driven."""

    kind: Text
    first_inputs: list[list[TokenId]] | None = None
    step_prefix: Text = ""
    first_index: Count | list[Count] = 1
    s1_every: Count | None = None
    s1_message: Text | None = None
    s1_counted: Literal["team", "worker"] = "team"
    whole_code: Annotated[bool, Field(strict=True)] = False
    paragraphs_to: list[Text | None] | None = None
    max_tokens: list[Count | None] | None = None
    max_total_tokens: Count | None = None
    seen: list[Annotated[bool, Field(strict=True)]] | None = None
    newcomers_at: list[Count | None] | None = None
    stop_at: dict[str, Count] | None = None
    stop_after_step: dict[str, Count] | None = None
    stop_strings: list[Text] = Field(default_factory=list)
    end_ids: list[TokenId] = Field(default_factory=list)
    seed: Annotated[int, Field(strict=True)] = 0
    until: list[Count] = Field(default_factory=list)
    finish: Finish | None = None

    @model_validator(mode="after")
    def _question(self) -> Self:
        if self.s1_every is not None and self.s1_message is None:
            raise ValueError("s1_every needs an s1_message")
        return self


class TraceFile(_Part):
    """A whole trace of either format."""

    format: Literal[1, 2]
    workers: list[Text]
    layout: list[list[Text]]
    write_to: list[Text]
    prefill: dict[str, Prefill]
    forbidden: list[TokenId]
    forbid_mode: Literal["suppress", "minus100"] | None = None
    visibility: Visibility = Visibility.SAME_STEP
    max_step_tokens: Annotated[int, Field(strict=True, ge=1, lt=2**40)] | None = None
    sampling: list[Sampling] | None = None
    params: Params
    steps: list[Step]


def fault(raw: Any) -> str | None:
    """Return the first violation of the schema, or None."""
    try:
        TraceFile.model_validate(raw)
    except ValidationError as error:
        field, problem = first_fault(error, raw)
        return f"{field}: {problem}"
    return None
