"""`hogwild run`: one problem, one team, in this process."""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from deploy.models import fetch_with_progress
from deploy.view import ViewInfo, ViewKind, make_view
from hogwild_dist import (
    EngineConfig,
    Limits,
    Run,
    SamplingConfig,
    Team,
    Visibility,
    default_names,
    load,
    load_layout,
    load_prompts,
)
from hogwild_dist.errors import ConfigError
from hogwild_dist.hub import DEMO_MODEL

CANCELLED = 130
"""Exit code after Ctrl-C, as shells have it."""


def run_command(
    problem: Annotated[str, typer.Argument(help="What to work on; - reads standard input.")],
    workers: Annotated[int | None, typer.Option(help="Number of workers, 1 to 16.")] = None,
    worker: Annotated[list[str] | None, typer.Option(help="A worker's name; repeat it.")] = None,
    layout: Annotated[
        str,
        typer.Option(help="contiguous, interleaved, combined, independent, or a .toml file."),
    ] = "combined",
    visibility: Annotated[
        Visibility, typer.Option(help="When a worker sees the others' newest token.")
    ] = Visibility.SAME_STEP,
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
    model: Annotated[
        str, typer.Option(help="A cached name, a hub id, a directory or a .gguf file.")
    ] = DEMO_MODEL,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, ...")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    cache_tokens: Annotated[int, typer.Option(help="Tokens that the KV cache holds.")] = 65_536,
    prompts: Annotated[Path | None, typer.Option(help="A prompts file (TOML).")] = None,
    trace: Annotated[Path | None, typer.Option(help="Record every step to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one event a line.")] = False,
) -> None:
    """Let a team work on PROBLEM and watch it think."""
    chosen = load_layout(layout)
    team = Team(
        names=_names(workers, worker),
        layout=chosen,
        prompts=load_prompts(chosen.name, prompts),
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
    )
    team.check()
    config = EngineConfig(visibility=visibility, cache_tokens=cache_tokens)
    text = sys.stdin.read() if problem == "-" else problem
    if not text.strip():
        raise ConfigError("The problem is empty; say what the team should work on.")
    set_threads(threads)
    fetch_with_progress(model)
    engine = load(model, device=device, dtype=dtype, config=config)
    info = ViewInfo(
        problem=text,
        names=team.names,
        model=model,
        layout=chosen.name,
        visibility=visibility.value,
    )
    with Run(engine, text, team, trace) as run:
        try:
            with make_view(info, ViewKind.JSON if json else None) as view:
                for event in run:
                    view.handle(event)
        except KeyboardInterrupt:
            raise typer.Exit(CANCELLED) from None


def _names(workers: int | None, named: list[str] | None) -> tuple[str, ...]:
    """Names given one by one, or the default ones for a count."""
    if not named:
        return default_names(2 if workers is None else workers)
    if workers is not None and workers != len(named):
        raise ConfigError(
            f"--workers says {workers} and --worker names {len(named)}; leave one of them out."
        )
    return tuple(named)


def set_threads(threads: int | None) -> None:
    """Let torch use this many CPU threads.

    Raises:
        ConfigError: fewer than one.
    """
    if threads is None:
        return
    if threads < 1:
        raise ConfigError(f"threads is {threads}; it must be at least 1.")
    torch.set_num_threads(threads)
