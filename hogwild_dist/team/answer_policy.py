"""How a team comes to its answer, as its user says it, and what that means for a session."""

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
"""Name of who states an answer when it is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPolicy:
    """How a team comes to its answer.

    Attributes:
        form: what announces an answer, which ends the team.
        by: names of the workers whose announcement counts; empty: everybody's.
        vote: whether everybody answers alone, and the most frequent answer is the team's.
        finisher_sampling: how the stated answer is chosen; None is greedily.
        finisher_tokens: how long the answer may be that is stated where none was announced; 0
            asks for none.
        budgets: rising; after so many steps of the team an answer is stated, and the team goes on
            as if nobody had asked.

    Raises:
        ConfigError: budgets or tokens are out of order.
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
                f"The finisher has {self.finisher_tokens} tokens; it must be 0 (none) or more."
            )
        check_budgets(self.budgets)
        if self.budgets and not self.finisher_tokens:
            raise ConfigError("Budgets need a finisher; give it tokens, 64 say.")

    def check(self, names: Sequence[str], max_tokens: int | None) -> None:
        """Check against a team.

        Raises:
            ConfigError: who is to answer is not in it, or a budget cannot be reached.
        """
        for name in self.by:
            if name not in names:
                raise ConfigError(
                    f"{name!r} is to answer and is not in the team of {', '.join(names)}."
                )
        if max_tokens is not None and self.budgets and self.budgets[-1] > max_tokens:
            raise ConfigError(
                f"The budget of {self.budgets[-1]} steps cannot be reached with {max_tokens} "
                "tokens for each worker; raise max_tokens or drop the budget."
            )


def finisher_view(layout: Layout, names: Sequence[str]) -> tuple[str, ...]:
    """What the finisher of a whole team sees: the shared blocks and everybody's own, in order.

    Separators and briefs speak to one worker and are left out.
    """
    shared = [name for name in layout.shared_blocks(names) if name != "separator"]
    return (*shared, *(block_name(index) for index in range(len(names))))


def team_answer(
    answers: Sequence[Answer], *, vote: bool = False, budget: int | None = None
) -> str | None:
    """The answer of a team.

    Args:
        answers: all of a session, in order.
        vote: whether each worker has its own, and the most frequent one counts.
        budget: steps that the team may take, one of the rule's budgets; None is the end.

    Returns:
        Its text, or None where there is none. Of answers that are as frequent the first counts.
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
