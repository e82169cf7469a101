"""Options of the team: its workers, layout and prompts."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from hogwild_dist import Prompts, Team, load_layout, load_prompts, load_team
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.errors import ConfigError
from hogwild_dist.team.presets.files import TeamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptOptions:
    """The prompt templates and their settings."""

    prompts: options.Prompts = None
    person: options.Person = None
    examples: options.Examples = None
    prompt_as: options.PromptAs = None

    def load(self, layout: str) -> Prompts:
        """Return the templates for the layout of this name.

        Raises:
            ConfigError: the templates cannot be read, or lack one of the settings.
        """
        return load_prompts(layout, self.prompts).with_settings(
            person=self.person, examples=self.examples, message=self.prompt_as
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamOptions:
    """A team by name, and changes to it."""

    workers: Annotated[int | None, typer.Option(help="Number of workers, 1 to 16.")] = None
    worker: Annotated[list[str] | None, typer.Option(help="A worker's name; repeat for more.")] = (
        None
    )
    team: Annotated[str, typer.Option(help="Team listed by `hogwild teams`, or a .toml file.")] = (
        "peers"
    )
    layout: Annotated[
        str | None,
        typer.Option(help="contiguous, interleaved, combined, independent, or a .toml file."),
    ] = None

    def plan(self) -> TeamPlan:
        """Return the team's plan, with the layout of the options.

        Raises:
            ConfigError: the team or the layout is unknown.
        """
        plan = load_team(self.team)
        return plan if self.layout is None else replace(plan, layout=load_layout(self.layout))

    def make(self, plan: TeamPlan, prompts: PromptOptions) -> Team:
        """Return the team of a plan.

        Raises:
            ConfigError: workers, plan and prompts do not fit together.
        """
        named = self.worker or ()
        if named and self.workers is not None and self.workers != len(named):
            raise ConfigError(
                f"--workers says {self.workers} and --worker names {len(named)}; leave one of "
                "them out."
            )
        return replace(plan.team(self.workers, named), prompts=prompts.load(plan.layout.name))
