"""Building a team from a client's parameters, the service's defaults and its bounds."""

from dataclasses import dataclass, field, replace

from hogwild_dist import AnswerForm, AnswerPolicy, Limits, SamplingConfig, Team, load_team
from hogwild_dist.deploy.service.config import Bounds, ServiceConfig
from hogwild_dist.deploy.service.errors import FieldError
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import FormKind
from hogwild_dist.team.answer_policy import FINISHER
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.presets.files import TeamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionParams:
    """Parameters of a session; None takes the service's default.

    Attributes:
        problem: problem to work on.
        team: name of the team.
        workers: number of workers.
        layout: name of the layout.
        max_tokens: token limit of each worker.
        answer_tokens: token limit of the answer.
        total_tokens: token limit of all workers and the answer together; None is unlimited.
        answer: form of the answer.
        sampling: sampling of the workers and the answer.
        seed: seed of the random choices.
        recorded: whether a trace is recorded.
    """

    problem: str
    team: str | None = None
    workers: int | None = None
    layout: str | None = None
    max_tokens: int | None = None
    answer_tokens: int | None = None
    total_tokens: int | None = None
    answer: FormKind = FormKind.TEXT
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0
    recorded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTeam:
    """A team that is ready to start.

    Attributes:
        name: name of the team.
        team: the workers and their settings.
        speaker: name of the worker whose text is the answer, or `FINISHER`.
    """

    name: str
    team: Team
    speaker: str


class TeamBuilder:
    """Builds teams from session parameters.

    Args:
        config: configuration of the service.

    Raises:
        ConfigError: a team cannot be read, two teams have one name, or the default team is missing.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self.plans: dict[str, TeamPlan] = {}
        for name in config.teams:
            plan = load_team(name)
            if plan.name in self.plans:
                raise ConfigError(f"Two teams of the service are called {plan.name!r}; rename one.")
            self.plans[plan.name] = plan
        if config.defaults.team not in self.plans:
            raise ConfigError(
                f"The default team {config.defaults.team!r} is not a team of the service; use one "
                f"of {', '.join(self.plans)}."
            )

    def build_team(self, params: SessionParams) -> PlannedTeam:
        """Build the team that a client asks for.

        Raises:
            ConfigError: the team does not exist, or exceeds the service's bounds.
        """
        _check_bounds(params, self._config.bounds)
        plan = self._plan(params)
        try:
            team = plan.team(params.workers)
        except ConfigError as error:
            raise FieldError("workers", str(error)) from error
        if len(team.names) > self._config.bounds.workers:
            raise FieldError(
                "workers",
                f"The team has {len(team.names)} workers; it must have at most "
                f"{self._config.bounds.workers} here.",
            )
        speaker = _speaker(plan)
        tokens, answer_tokens = self._limits(params, len(team.names), speaks=speaker != FINISHER)
        policy = None
        if speaker == FINISHER:
            policy = AnswerPolicy(
                form=AnswerForm(kind=params.answer),
                by=plan.file.finish.by,
                vote=plan.file.finish.vote and params.answer is not FormKind.TEXT,
                finisher_tokens=answer_tokens,
                finisher_sampling=params.sampling,
            )
        built = replace(
            team,
            sampling=params.sampling,
            limits=Limits(max_tokens=tokens),
            members={
                name: replace(profile, max_tokens=min(profile.max_tokens or tokens, tokens))
                for name, profile in team.members.items()
            },
            seed=params.seed,
            answer_policy=policy,
        )
        built.check()
        check_total(built, self._config.session_tokens)
        return PlannedTeam(name=plan.name, team=built, speaker=speaker)

    def _plan(self, params: SessionParams) -> TeamPlan:
        """Return the requested team in the requested layout."""
        name = params.team or self._config.defaults.team
        if name not in self.plans:
            raise FieldError(
                "team", f"There is no team {name[:60]!r} here; use {', '.join(self.plans)}."
            )
        plan = self.plans[name]
        if params.layout is None:
            return plan
        if params.layout not in LAYOUTS:
            raise FieldError(
                "layout", f"Unknown layout {params.layout[:60]!r}; use {', '.join(LAYOUTS)}."
            )
        return replace(plan, layout=LAYOUTS[params.layout])

    def _limits(self, params: SessionParams, num_workers: int, *, speaks: bool) -> tuple[int, int]:
        """Return the token limits of each worker and of the answer, within the total limit."""
        defaults = self._config.defaults
        each = params.max_tokens or defaults.max_tokens
        answer = 0 if speaks else params.answer_tokens or defaults.answer_tokens
        total = params.total_tokens
        if total is None:
            return each, answer
        if total < num_workers + (not speaks):
            raise FieldError(
                "max_tokens",
                f"The token limit is {total}; a team of {num_workers} and its answer need at least "
                f"{num_workers + (not speaks)}.",
            )
        answer = min(answer, max(total // 2, 1), total - num_workers)
        return min(each, (total - answer) // num_workers), answer


def _speaker(plan: TeamPlan) -> str:
    """Return the one worker that ends the team and gives its answer, or `FINISHER`."""
    until, by = plan.file.until, plan.file.finish.by
    return until[0] if len(until) == 1 and until == by else FINISHER


def check_total(
    team: Team, limit: int, field: str = "max_tokens", *, finishers: int | None = None
) -> None:
    """Check the total number of tokens that a session may choose.

    Args:
        team: team of the session.
        limit: most tokens that the workers and the answer may choose together.
        field: request field that an error names.
        finishers: number of finishers of a running session; None is one, or one for each worker
            if they vote.

    Raises:
        FieldError: the team may choose more tokens.
    """
    each = team.limits.max_tokens or 0
    total = sum(team.member(name).max_tokens or each for name in team.names)
    if team.answer_policy is not None:
        if finishers is None:
            finishers = len(team.names) if team.answer_policy.vote else 1
        total += team.answer_policy.finisher_tokens * finishers
    if total > limit:
        raise FieldError(
            field,
            f"{len(team.names)} workers and their answer may choose {total} tokens together; the "
            f"limit is {limit} here: ask for fewer workers or tokens, or raise "
            "bounds.session_tokens of the service.",
        )


def _check_bounds(params: SessionParams, bounds: Bounds) -> None:
    if not params.problem.strip():
        raise FieldError("problem", "The problem is empty; say what the team should work on.")
    if len(params.problem) > bounds.problem_chars:
        raise FieldError(
            "problem",
            f"The problem has {len(params.problem)} characters; "
            f"it must have at most {bounds.problem_chars}.",
        )
    for name, value in (("max_tokens", params.max_tokens), ("answer_tokens", params.answer_tokens)):
        if value is not None and not 1 <= value <= bounds.max_tokens:
            raise FieldError(name, f"{name} is {value}; it must be from 1 to {bounds.max_tokens}.")
