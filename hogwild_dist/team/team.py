"""A team: the workers on a problem, their layout, prompts, sampling and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, check_positive
from hogwild_dist.session.spec import MAX_WORKERS, SessionSpec
from hogwild_dist.session.stop_strings import check_stops
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.compile import compile_session
from hogwild_dist.team.layout import LAYOUTS, Layout
from hogwild_dist.team.prompts import Prompts
from hogwild_dist.team.tokenizer_utils import check_text
from hogwild_dist.team.worker_profile import WorkerProfile

NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mallory", "Niaj", "Olivia", "Peggy",
)  # fmt: skip
"""Default names of the workers."""


def default_names(count: int) -> tuple[str, ...]:
    """Return the first `count` default names.

    Raises:
        ConfigError: the count is not from 1 to 16.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise ConfigError(f"{count} workers were requested; a team has 1 to {MAX_WORKERS}.")
    return NAMES[:count]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When workers and sessions stop; None leaves only the limit of the model's context."""

    max_tokens: int | None = 256
    """Most tokens that each worker chooses."""

    max_total_tokens: int | None = None
    """Most tokens that all workers choose together."""

    stop_strings: tuple[str, ...] = ()
    """A worker stops when its text contains one of them."""

    def __post_init__(self) -> None:
        check_positive("max_tokens", self.max_tokens)
        check_positive("max_total_tokens", self.max_total_tokens)
        check_stops(self.stop_strings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """The workers on a problem, and how they work.

    Attributes:
        names: names of the workers.
        members: worker name -> its profile, for workers that differ from the others.
        layout: which blocks each worker sees.
        prompts: templates of the texts; None takes the package's.
        sampling: sampling of all workers without their own.
        limits: limits of all workers.
        seed: seed of the random choices.
        answer_policy: how the team reaches its answer; None asks for none.
        until: workers whose stop ends the team; empty means all.
    """

    names: tuple[str, ...]
    members: Mapping[str, WorkerProfile] = field(default_factory=dict)
    layout: Layout = LAYOUTS["combined"]
    prompts: Prompts | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    answer_policy: AnswerPolicy | None = None
    until: tuple[str, ...] = ()

    def spec(
        self,
        problem: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: frozenset[int] = frozenset(),
    ) -> SessionSpec:
        """Return the specification of a session on `problem`; see `compile_session`."""
        return compile_session(self, problem, tokenizer, end_ids)[1]

    def texts_and_spec(
        self,
        problem: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: frozenset[int] = frozenset(),
    ) -> tuple[dict[str, str], SessionSpec]:
        """Return the blocks' first texts and the specification; see `compile_session`."""
        return compile_session(self, problem, tokenizer, end_ids)

    def member(self, name: str) -> WorkerProfile:
        """Return the profile of a worker."""
        return self.members.get(name, WorkerProfile())

    def check(self) -> None:
        """Check everything that can be checked without a model.

        Raises:
            ConfigError: names, limits or layout cannot be used.
        """
        if not 1 <= len(self.names) <= MAX_WORKERS:
            raise ConfigError(
                f"A team of {len(self.names)} was requested; a team has 1 to {MAX_WORKERS} workers."
            )
        repeated = [name for name in self.names if self.names.count(name) > 1]
        if repeated:
            raise ConfigError(
                f"Two workers are called {repeated[0]!r}; give each worker its own name."
            )
        self.layout.views(self.names)
        for name in self.members:
            if name not in self.names:
                raise ConfigError(
                    f"The team describes {name!r}, who is not in it; its workers are "
                    f"{', '.join(self.names)}."
                )
        for name in self.until:
            if name not in self.names:
                raise ConfigError(
                    f"The team is to run until {name!r} has stopped, who is not in it; its workers "
                    f"are {', '.join(self.names)}."
                )
        if self.answer_policy is not None:
            self.answer_policy.check(self.names, self.limits.max_tokens)
        for name in self.names:
            check_text("A worker's name", name)
            if not name.strip() or any(sign in name for sign in "\n{}"):
                raise ConfigError(
                    f"A worker is called {name!r}; a name is one line of text without braces."
                )
