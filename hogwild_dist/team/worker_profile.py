"""The profile of one worker: role, brief, first text, sampling and limits."""

from dataclasses import dataclass

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, check_positive
from hogwild_dist.team.tokenizer_utils import check_text


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerProfile:
    """How one worker differs from the others.

    Attributes:
        role: role in one line, which all workers read.
        brief: text that only this worker reads.
        first: beginning of its text, in place of the prompts' own.
        sampling: sampling of its tokens; None takes the team's.
        max_tokens: most tokens that it chooses; None takes the team's.
    """

    role: str = ""
    brief: str = ""
    first: str | None = None
    sampling: SamplingConfig | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_text("A role", self.role)
        check_text("A brief", self.brief)
        if "\n" in self.role:
            raise ConfigError(
                f"The role {self.role!r} has several lines; write one, "
                "and put the rest in the brief."
            )
        if self.first == "":
            raise ConfigError("A worker's first text is empty; omit it or give it text.")
        check_positive("max_tokens", self.max_tokens)
