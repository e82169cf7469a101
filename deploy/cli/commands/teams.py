"""`hogwild teams`: list the teams and show their files."""

from typing import Annotated

import typer
from rich.table import Table

from hogwild_dist.deploy.cli.output import OutputConsole
from hogwild_dist.deploy.cli.sources import show_source
from hogwild_dist.errors import ConfigError
from hogwild_dist.team.presets import TEAMS, load_team
from hogwild_dist.team.presets.files import team_text

app = typer.Typer(help="List teams and show their files.", invoke_without_command=True)


@app.callback()
def list_teams(context: typer.Context) -> None:
    """List the teams that come with the package."""
    if context.invoked_subcommand is not None:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("team", "workers", "layout", "about"):
        table.add_column(column, overflow="fold")
    for name in TEAMS:
        plan = load_team(name)
        roles = [worker.name for worker in plan.file.workers]
        roles += ["..."] if plan.file.size > len(roles) else []
        table.add_row(name, ", ".join(roles), plan.layout.name, plan.file.about)
    OutputConsole().print(table)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="Name of the team.")]) -> None:
    """Print a team's file.

    Save a copy, edit it, and use it with --team FILE.
    """
    if name not in TEAMS:
        raise ConfigError(f"Unknown team {name!r}; there are {', '.join(TEAMS)}.")
    show_source(team_text(name), "toml")
