"""`hogwild run`: one problem, one team."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from actors.cluster import ShardGroup
from actors.settings import Spread
from deploy import options
from deploy.speak import HELP, speak
from deploy.view import LiveView, ViewInfo, ViewKind, make_view
from deploy.where import Where, backend
from hogwild_dist import (
    AnswerForm,
    Engine,
    EngineConfig,
    Finish,
    Limits,
    Run,
    SamplingConfig,
    Team,
    Visibility,
    load_layout,
    load_prompts,
    load_team,
)
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.events import Refused
from hogwild_dist.hub import DEMO_MODEL
from hogwild_dist.teams.files import TeamPlan
from hogwild_dist.timeline import Span, write_chrome_trace

CANCELLED = 130
"""Exit code after Ctrl-C, as shells have it."""


def run_command(
    problem: Annotated[str, typer.Argument(help="What to work on; - reads standard input.")],
    workers: Annotated[int | None, typer.Option(help="Number of workers, 1 to 16.")] = None,
    worker: Annotated[list[str] | None, typer.Option(help="A worker's name; repeat it.")] = None,
    team: options.TeamName = "peers",
    layout: options.LayoutName = None,
    visibility: options.Visible = Visibility.SAME_STEP,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each worker.")] = 256,
    max_total_tokens: Annotated[
        int | None, typer.Option(help="Tokens of all workers together.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="A worker that writes this stops; repeat it.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens of this mass.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all.")] = 0,
    min_p: Annotated[float, typer.Option(help="Drop tokens below this share of the best.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 discourages repeats.")] = 1.0,
    forbid: Annotated[
        list[int] | None, typer.Option(help="Id of a token never to choose; repeat it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same text.")] = 0,
    answer: Annotated[
        str | None,
        typer.Option(help="What announces the answer: boxed, code, or a regular expression."),
    ] = None,
    answer_by: Annotated[
        list[str] | None, typer.Option(help="A worker whose answer counts; repeat it.")
    ] = None,
    vote: Annotated[
        bool, typer.Option("--vote", help="Everybody answers alone; the majority counts.")
    ] = False,
    finisher_tokens: Annotated[
        int, typer.Option(help="Length of the answer that is asked for when time is short.")
    ] = 64,
    budgets: Annotated[
        str | None, typer.Option(help="Also state an answer after so many steps: 64,128,256.")
    ] = None,
    model: options.Model = DEMO_MODEL,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    cache_tokens: options.CacheTokens = 65_536,
    shards: options.Shards = None,
    address: options.Address = None,
    name: Annotated[
        str | None, typer.Option(help="Keep the shards under this name when the run has ended.")
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(help="Run on the shards of this name: their model, their visibility."),
    ] = None,
    spread: options.SpreadOver = Spread.PACK,
    cpus_per_shard: options.CpusPerShard = 1.0,
    wait_for_nodes: options.WaitForNodes = 0.0,
    prompts: options.Prompts = None,
    person: options.Person = None,
    examples: options.Examples = None,
    prompt_as: options.PromptAs = None,
    trace: options.Trace = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Write where the time went, for chrome://tracing.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one event a line.")] = False,
) -> None:
    """Let a team work on PROBLEM and watch it think."""
    plan = load_team(team)
    chosen = plan.layout if layout is None else load_layout(layout)
    workers_of_team = replace(
        plan.team(workers, _names(workers, worker)),
        layout=chosen,
        prompts=load_prompts(chosen.name, prompts).with_settings(
            person=person, examples=examples, message=prompt_as
        ),
        sampling=SamplingConfig(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            forbidden_ids=tuple(forbid or ()),
        ),
        limits=Limits(
            max_tokens=max_tokens,
            max_total_tokens=max_total_tokens,
            stop_strings=tuple(stop or ()),
        ),
        seed=seed,
        finish=_finish(plan, answer, answer_by, vote, finisher_tokens, budgets),
    )
    workers_of_team.check()
    if attach is not None and timeline is not None:
        raise ConfigError(
            f"The group {attach!r} keeps no timeline; leave out --attach, or --timeline."
        )
    text = _problem(problem)
    where = Where(
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        config=EngineConfig(visibility=visibility, cache_tokens=cache_tokens),
        shards=shards,
        address=address,
        name=name,
        attach=attach,
        spread=spread,
        cpus_per_shard=cpus_per_shard,
        wait_for_nodes=wait_for_nodes,
        timeline=timeline is not None,
    )
    with backend(where) as place:
        try:
            _watch(place, text, workers_of_team, trace, ViewKind.JSON if json else None)
        finally:
            if timeline is not None:
                write_chrome_trace(timeline, _timelines(place))


def _watch(
    place: Engine | ShardGroup, problem: str, team: Team, trace: Path | None, kind: ViewKind | None
) -> None:
    """Run and show; Ctrl-C ends the run and shows what it has."""
    info = ViewInfo(
        problem=problem,
        names=team.names,
        model=place.info.name if isinstance(place, ShardGroup) else place.model.name,
        layout=team.layout.name,
        visibility=place.config.visibility.value,
        hint=HELP,
    )
    with Run(place, problem, team, trace) as run, make_view(info, kind) as view:
        try:
            for event in run:
                view.handle(event)
                if isinstance(view, LiveView):
                    _obey(run, view, event.step)
        except KeyboardInterrupt:
            for event in run.close():
                view.handle(event)
            raise typer.Exit(CANCELLED) from None


def _obey(run: Run, view: LiveView, step: int) -> None:
    """Carry out what a person has typed."""
    for line in view.lines():
        try:
            speak(run, line)
        except HogwildError as error:
            view.handle(Refused(step=step, reason=str(error)))


def _timelines(place: Engine | ShardGroup) -> list[list[Span]]:
    return place.timelines() if isinstance(place, ShardGroup) else [place.timeline.spans]


def _finish(
    plan: TeamPlan,
    answer: str | None,
    by: list[str] | None,
    vote: bool,
    finisher_tokens: int,
    budgets: str | None,
) -> Finish | None:
    """How the team comes to an answer, where one is asked for."""
    if answer is None:
        if by or vote or budgets:
            raise ConfigError(
                "--answer-by, --vote and --budgets ask for an answer; say with --answer what "
                "announces it: boxed, code, or a regular expression."
            )
        return None
    return Finish(
        form=AnswerForm.parse(answer),
        by=tuple(by or plan.file.finish.by),
        vote=vote or plan.file.finish.vote,
        finisher_tokens=finisher_tokens,
        budgets=options.numbers("budgets", budgets or ""),
    )


def _problem(argument: str) -> str:
    """The problem's text, from standard input where the argument is ``-``."""
    try:
        text = sys.stdin.read() if argument == "-" else argument
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The problem on standard input is not UTF-8 ({error}); convert it first."
        ) from error
    if not text.strip():
        raise ConfigError("The problem is empty; say what the team should work on.")
    return text


def _names(workers: int | None, named: list[str] | None) -> tuple[str, ...]:
    """Names given one by one; none where a count is given or nothing."""
    if named and workers is not None and workers != len(named):
        raise ConfigError(
            f"--workers says {workers} and --worker names {len(named)}; leave one of them out."
        )
    return tuple(named or ())
