"""Options of a team's answer."""

from dataclasses import dataclass
from typing import Annotated

import typer

from hogwild_dist import AnswerForm, AnswerPolicy
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.errors import ConfigError
from hogwild_dist.team.presets.files import TeamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerOptions:
    """The form of an answer, whose answer counts, and when it is due."""

    answer: Annotated[
        str | None,
        typer.Option(help="Mark of an answer: boxed, code, text, or a regular expression."),
    ] = None
    answer_by: Annotated[
        list[str] | None, typer.Option(help="Worker whose answer counts; repeat for more.")
    ] = None
    vote: Annotated[
        bool, typer.Option("--vote", help="Every worker answers alone; the majority counts.")
    ] = False
    finisher_tokens: Annotated[
        int, typer.Option(help="Most tokens of an answer that the finisher states.")
    ] = 64
    budgets: Annotated[
        str | None, typer.Option(help="Also state an answer after these steps: 64,128,256.")
    ] = None

    def policy(self, plan: TeamPlan) -> AnswerPolicy | None:
        """Return how the team of a plan comes to an answer; None if no answer is asked for.

        Raises:
            ConfigError: --answer is missing or invalid, or a number is out of range.
        """
        if self.answer is None:
            if self.answer_by or self.vote or self.budgets:
                raise ConfigError(
                    "--answer-by, --vote and --budgets need --answer, the mark of an answer: "
                    "boxed, code, text, or a regular expression."
                )
            return None
        return AnswerPolicy(
            form=AnswerForm.parse(self.answer),
            by=tuple(self.answer_by or plan.file.finish.by),
            vote=self.vote or plan.file.finish.vote,
            finisher_tokens=self.finisher_tokens,
            budgets=options.numbers("budgets", self.budgets or ""),
        )
