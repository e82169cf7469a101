"""Answer policies: how a team reaches its answer, and the answer of a finished session."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.events import Answer
from hogwild_dist.session.spec import block_name, check_budgets
from hogwild_dist.team.layout import Layout

FINISHER = "Finisher"
"""Name of the worker that states an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPolicy:
    """How a team reaches its answer.

    Attributes:
        form: form of an announced answer, which ends the team.
        by: names of the workers whose announcement counts; empty means all.
        vote: whether each worker answers alone and the most frequent answer is the team's.
        finisher_sampling: sampling of a stated answer; None is greedy.
        finisher_tokens: most tokens of a stated answer if none was announced; 0 states none.
        budgets: ascending numbers of the team's steps after which an answer is stated; the team
            then continues as if it had not been interrupted.

    Raises:
        ConfigError: the budgets are not ascending, or the finisher has no tokens for them.
    """

    form: AnswerForm
    by: tuple[str, ...] = ()
    vote: bool = False
    finisher_tokens: int = 64
    finisher_sampling: SamplingConfig | None = None
    budgets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.finisher_tokens < 0:
            raise ConfigError(
                f"finisher_tokens is {self.finisher_tokens}; it must be 0 (none) or more."
            )
        check_budgets(self.budgets)
        if self.budgets and not self.finisher_tokens:
            raise ConfigError("Budgets need a finisher; set finisher_tokens, for example to 64.")

    def check(self, names: Sequence[str], max_tokens: int | None) -> None:
        """Check the policy against a team.

        Raises:
            ConfigError: a worker that may answer is not in the team, or a budget is out of reach.
        """
        for name in self.by:
            if name not in names:
                raise ConfigError(
                    f"{name!r} is to answer and is not in the team; use one of {', '.join(names)}."
                )
        if max_tokens is not None and self.budgets and self.budgets[-1] > max_tokens:
            raise ConfigError(
                f"The budget of {self.budgets[-1]} steps cannot be reached with {max_tokens} "
                "tokens for each worker; raise max_tokens or drop the budget."
            )


def finisher_view(layout: Layout, names: Sequence[str]) -> tuple[str, ...]:
    """Return the view of a whole team's finisher: shared blocks, then all workers' blocks.

    Separators and briefs address one worker and are omitted.
    """
    shared = [name for name in layout.shared_blocks(names) if name != "separator"]
    return (*shared, *(block_name(index) for index in range(len(names))))


def team_answer(
    answers: Sequence[Answer], *, vote: bool = False, budget: int | None = None
) -> str | None:
    """Return a team's answer, or None.

    Args:
        answers: all answers of a session, in order.
        vote: whether each worker has its own answer and the most frequent one counts; the first
            wins a tie.
        budget: one of the team's budgets, in steps; None is the end of the session.
    """
    known = [
        one
        for one in answers
        if one.answer is not None
        and (one.budget == budget if one.budget is not None else _in_time(one, budget))
    ]
    if not vote:
        return known[0].answer if known else None
    each: dict[int | None, str] = {}
    for one in known:
        each.setdefault(one.of, one.answer or "")
    votes = Counter(each.values())
    return votes.most_common(1)[0][0] if votes else None


def _in_time(one: Answer, budget: int | None) -> bool:
    return budget is None or one.after <= budget
