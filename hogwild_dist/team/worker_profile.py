"""What is special about one worker of a team."""

from dataclasses import dataclass

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.team.tokenizer_utils import check_text


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerProfile:
    """What is special about one worker.

    Attributes:
        role: in a line, for everybody to read.
        brief: what this worker alone is told.
        first: begins its text in place of the prompts' beginning.
        sampling: None takes the team's.
        max_tokens: None takes the team's.
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
            raise ConfigError(f"The role {self.role!r} has several lines; put them into the brief.")
        if self.first == "":
            raise ConfigError("A worker's first text is empty; leave it out or give it text.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}; it must be at least 1.")
