"""Options that say how a team comes to an answer."""

from dataclasses import dataclass
from typing import Annotated

import typer

from hogwild_dist import AnswerForm, AnswerPolicy
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.errors import ConfigError
from hogwild_dist.team.presets.files import TeamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerOptions:
    """What an answer looks like, whose counts, and when one is asked for."""

    answer: Annotated[
        str | None,
        typer.Option(help="What announces the answer: boxed, code, text, or a regular expression."),
    ] = None
    answer_by: Annotated[
        list[str] | None, typer.Option(help="A worker whose answer counts; repeat it.")
    ] = None
    vote: Annotated[
        bool, typer.Option("--vote", help="Everybody answers alone; the majority counts.")
    ] = False
    finisher_tokens: Annotated[
        int, typer.Option(help="Length of the answer that is asked for when time is short.")
    ] = 64
    budgets: Annotated[
        str | None, typer.Option(help="Also state an answer after so many steps: 64,128,256.")
    ] = None

    def policy(self, plan: TeamPlan) -> AnswerPolicy | None:
        """How the team of a plan comes to an answer, where one is asked for.

        Raises:
            ConfigError: nobody said what announces an answer, or it cannot be asked for so.
        """
        if self.answer is None:
            if self.answer_by or self.vote or self.budgets:
                raise ConfigError(
                    "--answer-by, --vote and --budgets ask for an answer; say with --answer what "
                    "announces it: boxed, code, text, or a regular expression."
                )
            return None
        return AnswerPolicy(
            form=AnswerForm.parse(self.answer),
            by=tuple(self.answer_by or plan.file.finish.by),
            vote=self.vote or plan.file.finish.vote,
            finisher_tokens=self.finisher_tokens,
            budgets=options.numbers("budgets", self.budgets or ""),
        )
