"""From what a client asks for to a team: defaults, bounds, and who speaks to the user."""

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
    """What a client asks for; None takes the service's default.

    Attributes:
        problem: what to work on.
        team: by name.
        workers: how many.
        layout: by name.
        max_tokens: of each worker.
        answer_tokens: of the answer.
        total_tokens: of all workers and the answer together, where that is bounded.
        answer: its form.
        sampling: of everybody.
        seed: of the random choices.
        recorded: whether a trace can be fetched.
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
    """A team that is ready to work.

    Attributes:
        name: of the team.
        team: who works.
        speaker: the worker who speaks to the user, or the finisher.
    """

    name: str
    team: Team
    speaker: str


class TeamBuilder:
    """Makes teams of wishes.

    Args:
        config: of the service.

    Raises:
        ConfigError: a team of the service cannot be read.
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
                f"The default team is {config.defaults.team!r}, and the service has "
                f"{', '.join(self.plans)}."
            )

    def build_team(self, params: SessionParams) -> PlannedTeam:
        """The team that a client asks for.

        Raises:
            ConfigError: there is none such, or it is beyond the service's bounds.
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
                f"{len(team.names)} workers were asked for; a team has at most "
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
        """The team's file, in the layout that is asked for."""
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
        """Tokens of each worker, and of the answer; within the total, where there is one."""
        defaults = self._config.defaults
        each = params.max_tokens or defaults.max_tokens
        answer = 0 if speaks else params.answer_tokens or defaults.answer_tokens
        total = params.total_tokens
        if total is None:
            return each, answer
        if total < num_workers + (not speaks):
            raise FieldError(
                "max_tokens",
                f"{total} tokens were allowed; a team of {num_workers} and its answer need "
                f"{num_workers + (not speaks)} at least.",
            )
        answer = min(answer, max(total // 2, 1), total - num_workers)
        return min(each, (total - answer) // num_workers), answer


def _speaker(plan: TeamPlan) -> str:
    """Who speaks to the user: a worker whose stop ends the team and who alone answers."""
    until, by = plan.file.until, plan.file.finish.by
    return until[0] if len(until) == 1 and until == by else FINISHER


def check_total(
    team: Team, limit: int, field: str = "max_tokens", *, finishers: int | None = None
) -> None:
    """Refuse a session that takes the room of many.

    Args:
        team: of the session.
        limit: tokens that its workers and its answer may choose together.
        field: of the request that asks for too many.
        finishers: who state the answer, where the session has begun with them.

    Raises:
        FieldError: it may choose more.
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
            f"{len(team.names)} workers and their answer may choose {total} tokens together; a "
            f"session may choose {limit} here: ask for fewer workers or tokens, or raise "
            "bounds.session_tokens of the service.",
        )


def _check_bounds(params: SessionParams, bounds: Bounds) -> None:
    if not params.problem.strip():
        raise FieldError("problem", "The problem is empty; say what the team should work on.")
    if len(params.problem) > bounds.problem_chars:
        raise FieldError(
            "problem",
            f"The problem has {len(params.problem)} characters; "
            f"it may have {bounds.problem_chars}.",
        )
    for name, value in (("max_tokens", params.max_tokens), ("answer_tokens", params.answer_tokens)):
        if value is not None and not 1 <= value <= bounds.max_tokens:
            raise FieldError(name, f"{name} is {value}; it must be from 1 to {bounds.max_tokens}.")
