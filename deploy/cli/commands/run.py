"""`hogwild run`: let one team work on one problem."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hogwild_dist import Engine, Run, Team
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.deploy.cli.commands.slash_commands import HELP, run_slash_command
from hogwild_dist.deploy.cli.execution import ExecutionTarget, backend, model_sampling
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.answer import AnswerOptions
from hogwild_dist.deploy.cli.options.grouped import grouped
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.deploy.cli.options.sampling import LimitOptions, SamplingOptions
from hogwild_dist.deploy.cli.options.team import PromptOptions, TeamOptions
from hogwild_dist.deploy.cli.output import own_output
from hogwild_dist.deploy.view import LiveView, ViewInfo, ViewKind, make_view
from hogwild_dist.deploy.view.text import harmless
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.session.events import Refused
from hogwild_dist.timeline import Span, write_chrome_trace

CANCELLED = 130
"""Exit code after Ctrl-C, as in shells."""


@grouped
def run_command(
    problem: Annotated[str, typer.Argument(help="Problem to work on; - reads standard input.")],
    team: TeamOptions,
    prompts: PromptOptions,
    sampling: SamplingOptions,
    limits: LimitOptions,
    answer: AnswerOptions,
    load: LoadSettings,
    shards: ShardOptions,
    seed: options.Seed = 0,
    address: options.Address = None,
    name: Annotated[
        str | None, typer.Option(help="Name that keeps the shards after the run.")
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(help="Name of running shards to use, with their model and visibility."),
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="File to record every step in.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="File for the timing of every step, for chrome://tracing.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON event per line.")] = False,
) -> None:
    """Let a team work on PROBLEM and watch it think."""
    plan = team.plan()
    workers = replace(
        team.make(plan, prompts),
        sampling=sampling.config(),  # refuses a wrong number before anything is loaded
        limits=limits.limits(),
        seed=seed,
        answer_policy=answer.policy(plan),
    )
    workers.check()
    if attach is not None and timeline is not None:
        raise ConfigError(
            f"The group {attach!r} keeps no timeline; leave out --attach or --timeline."
        )
    text = _problem(problem)
    target = ExecutionTarget(
        load_settings=load,
        placement=shards,
        address=address,
        name=name,
        attach=attach,
        timeline=timeline is not None,
    )
    with own_output() as console, backend(target) as place:
        info = place.info if isinstance(place, ShardGroup) else place.model.info
        workers = replace(workers, sampling=model_sampling(sampling, info))
        try:
            _watch(place, text, workers, trace, console, ViewKind.JSON if json else None)
        finally:
            if timeline is not None:
                write_chrome_trace(timeline, _timelines(place))


def _watch(
    place: Engine | ShardGroup,
    problem: str,
    team: Team,
    trace: Path | None,
    console: Console,
    kind: ViewKind | None,
) -> None:
    """Run and show the events; Ctrl-C ends the run and shows its text."""
    info = ViewInfo(
        problem=problem,
        names=team.names,
        model=place.info.name if isinstance(place, ShardGroup) else place.model.name,
        layout=team.layout.name,
        visibility=place.config.visibility.value,
        hint=HELP,
        asked=team.answer_policy is not None,
    )
    with Run(place, problem, team, trace) as run, make_view(info, kind, console) as view:
        try:
            for event in run:
                view.handle(event)
                if isinstance(view, LiveView):
                    _run_typed_lines(run, view, event.step)
        except KeyboardInterrupt:
            for event in run.close():
                view.handle(event)
            raise typer.Exit(CANCELLED) from None
        except OSError:  # the output is full: the text goes where it can still be read
            list(run.close())
            for name, text in run.result.texts.items():
                print(f"--- {name} ---\n{harmless(text)}", file=sys.stderr)
            raise


def _run_typed_lines(run: Run, view: LiveView, step: int) -> None:
    """Carry out the lines that the user has typed."""
    for line in view.lines():
        try:
            run_slash_command(run, line)
        except HogwildError as error:
            view.handle(Refused(step=step, reason=str(error)))


def _timelines(place: Engine | ShardGroup) -> list[list[Span]]:
    return place.timelines() if isinstance(place, ShardGroup) else [place.timeline.spans]


def _problem(argument: str) -> str:
    """Return the problem's text, from standard input if the argument is ``-``."""
    try:
        text = sys.stdin.read() if argument == "-" else argument
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The problem on standard input is not UTF-8 ({error}); convert it first."
        ) from error
    if not text.strip():
        raise ConfigError("The problem is empty; say what the team should work on.")
    return text
