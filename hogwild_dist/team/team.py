"""From a problem and a team to a session's spec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.spec import (
    MAX_WORKERS,
    AnswerRule,
    FinisherSpec,
    SessionSpec,
    WorkerSpec,
    block_name,
)
from hogwild_dist.team.answer_policy import FINISHER, AnswerPolicy, finisher_view
from hogwild_dist.team.layout import LAYOUTS, Layout
from hogwild_dist.team.prompts import Prompts, load_prompts
from hogwild_dist.team.texts import TeamTexts
from hogwild_dist.team.tokenizer_utils import (
    check_text,
    encode,
    own_end_ids,
    single_tokens,
    special_ids,
)
from hogwild_dist.team.worker_profile import WorkerProfile

NAMES = (
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Kevin", "Laura", "Mallory", "Niaj", "Olivia", "Peggy",
)  # fmt: skip
"""Default names of workers."""


NEWCOMER = "{newcomer}"
"""No worker's name: stands for whoever joins later."""


def default_names(count: int) -> tuple[str, ...]:
    """The first `count` default names.

    Raises:
        ConfigError: the count is not from 1 to 16.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise ConfigError(f"{count} workers were asked for; a team has 1 to {MAX_WORKERS}.")
    return NAMES[:count]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When workers and sessions stop. None is no limit but the model's context."""

    max_tokens: int | None = 256
    """Chosen tokens of each worker."""

    max_total_tokens: int | None = None
    """Chosen tokens of all workers together."""

    stop_strings: tuple[str, ...] = ()
    """A worker whose text contains one stops."""

    def __post_init__(self) -> None:
        for name, value in (
            ("max_tokens", self.max_tokens),
            ("max_total_tokens", self.max_total_tokens),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        if "" in self.stop_strings:
            raise ConfigError("A stop string is empty; leave it out or give it text.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Who works on a problem, and how.

    Attributes:
        names: of the workers.
        members: name -> what is special about that worker.
        layout: who sees what.
        prompts: None takes those of the package.
        sampling: of everybody who has none of their own.
        limits: of everybody.
        seed: of the random choices.
        answer_policy: how it comes to an answer; None asks for none.
        until: the session goes on until these have stopped; empty: until all have.
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
        """Write the spec of a session on `problem`; see `texts_and_spec`.

        Raises:
            ConfigError: no problem text, or names, layout and prompts do not fit together.
        """
        return self.texts_and_spec(problem, tokenizer, end_ids=end_ids)[1]

    def texts_and_spec(
        self,
        problem: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: frozenset[int] = frozenset(),
    ) -> tuple[dict[str, str], SessionSpec]:
        """The spec, and the text of each block it starts from.

        Args:
            problem: what to work on.
            tokenizer: of the model.
            end_ids: end-of-text tokens that the model names beside the tokenizer's.
        """
        if not problem.strip():
            raise ConfigError("The problem is empty; say what the team should work on.")
        self.check()
        check_text("The problem", problem)
        prompts = self.prompts or load_prompts(self.layout.name)
        form = None if self.answer_policy is None else self.answer_policy.form.kind.value
        texts = TeamTexts(self.names, self.members, self.layout, problem, prompts, tokenizer, form)
        blocks = texts.shared()
        views = self.layout.views(self.names, texts.briefed)
        shared = {name: tuple(encode(tokenizer, text)) for name, text in blocks.items()}
        forbidden = {*special_ids(tokenizer), *end_ids}
        forbidden |= single_tokens(tokenizer, (*prompts.settings.forbid, texts.thinking.end))
        workers = []
        joined = self.layout.views((*self.names, NEWCOMER), texts.briefed)
        newcomer = block_name(len(self.names))
        for name, view, wider in zip(self.names, views, joined, strict=False):
            member = self.member(name)
            blocks[view[-1]] = texts.first(name)
            workers.append(
                WorkerSpec(
                    name=name,
                    view=view,
                    first_input=tuple(encode(tokenizer, blocks[view[-1]])),
                    sampling=self._sampling(name, forbidden),
                    paragraphs_to=self.layout.rule(name).paragraphs_to,
                    seen=self.layout.rule(name).seen,
                    newcomers_at=wider.index(newcomer) if newcomer in wider else None,
                    max_tokens=member.max_tokens or self.limits.max_tokens,
                )
            )
        text = tuple(encode(tokenizer, texts.finisher()))
        return blocks, SessionSpec(
            workers=tuple(workers),
            shared=shared,
            shared_prefixes=texts.shared_prefixes(shared),
            seed=self.seed,
            paragraph_prefix=texts.prefix(),
            redundancy=texts.redundancy(),
            whole_code=True,
            stop_strings=self.limits.stop_strings,
            end_ids=frozenset(own_end_ids(tokenizer)) | end_ids,
            max_total_tokens=self.limits.max_total_tokens,
            until=tuple(self.names.index(name) for name in self.until),
            answer_rule=None
            if self.answer_policy is None
            else self._answer_rule(self.answer_policy, workers, text),
        )

    def member(self, name: str) -> WorkerProfile:
        """What is special about a worker."""
        return self.members.get(name, WorkerProfile())

    def _answer_rule(
        self, answer_policy: AnswerPolicy, workers: Sequence[WorkerSpec], text: tuple[int, ...]
    ) -> AnswerRule:
        """What the session is told about the answer."""

        def finisher(name: str, view: tuple[str, ...], of: int | None) -> FinisherSpec:
            own = f"finisher{of or 0}"
            limit = answer_policy.finisher_tokens
            spec = WorkerSpec(
                name=name,
                view=(*view, own),
                first_input=text,
                sampling=answer_policy.finisher_sampling or SamplingConfig(),
                max_tokens=limit,
                newcomers_at=None if answer_policy.vote else len(view),
            )
            return FinisherSpec(spec=spec, of=of)

        if not answer_policy.finisher_tokens:
            finishers = []
        elif answer_policy.vote:
            finishers = [
                finisher(f"{FINISHER} of {worker.name}", worker.view, index)
                for index, worker in enumerate(workers)
            ]
        else:
            finishers = [finisher(FINISHER, finisher_view(self.layout, self.names), None)]
        return AnswerRule(
            form=answer_policy.form,
            by=tuple(self.names.index(name) for name in answer_policy.by),
            each=answer_policy.vote,
            finishers=tuple(finishers),
            budgets=answer_policy.budgets,
        )

    def _sampling(self, worker: str, forbidden: set[int]) -> SamplingConfig:
        """The worker's sampling: who writes paragraph after paragraph may not end the text.

        As in the reference, begin- and end-of-text are forbidden then, so that nobody leaves the
        team early; and so are headings, which would end the sections of the prompt.
        """
        sampling = self.member(worker).sampling or self.sampling
        if self.layout.rule(worker).paragraphs_to is None:
            return sampling
        return replace(sampling, forbidden_ids=tuple(sorted({*sampling.forbidden_ids, *forbidden})))

    def check(self) -> None:
        """Check all that can be checked without a model.

        Raises:
            ConfigError: names, limits or layout cannot be used.
        """
        if not 1 <= len(self.names) <= MAX_WORKERS:
            raise ConfigError(
                f"A team of {len(self.names)} was asked for; it has 1 to {MAX_WORKERS} workers."
            )
        repeated = [name for name in self.names if self.names.count(name) > 1]
        if repeated:
            raise ConfigError(
                f"Two workers are called {repeated[0]!r}; give every worker a name of its own."
            )
        self.layout.views(self.names)
        for name in self.members:
            if name not in self.names:
                raise ConfigError(
                    f"The team says something about {name!r}, who is not in it; it has "
                    f"{', '.join(self.names)}."
                )
        for name in self.until:
            if name not in self.names:
                raise ConfigError(
                    f"The team is to go on until {name!r} has stopped, who is not in it; it has "
                    f"{', '.join(self.names)}."
                )
        if self.answer_policy is not None:
            self.answer_policy.check(self.names, self.limits.max_tokens)
        for name in self.names:
            check_text("A worker's name", name)
            if not name.strip() or any(sign in name for sign in "\n{}"):
                raise ConfigError(
                    f"A worker is called {name!r}; a name is one line of text without braces."
                )
