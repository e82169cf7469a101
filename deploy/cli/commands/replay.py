"""`hogwild replay`: compare a recording with the engine."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.deploy.cli.execution import ExecutionTarget, backend
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.grouped import Given, grouped
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.engine.engine import Engine
from hogwild_dist.errors import ConfigError, TraceError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.run.trace.reader import Trace, read_trace
from hogwild_dist.run.trace.replay import (
    RowComparison,
    check_fits,
    recorded_dtype,
    recorded_settings,
    replay_fed,
    replay_free,
)
from hogwild_dist.settings import from_flat

DIFFERS = 1
"""Exit code if the engine and the recording differ."""


@grouped
def replay_command(
    trace: Annotated[Path, typer.Argument(help="File recorded with --trace.")],
    free: Annotated[
        bool,
        typer.Option("--free", help="Let the engine choose; compare tokens and events."),
    ] = False,
    logits: Annotated[Path | None, typer.Option(help="JSON file for each row's logits.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest allowed difference of a logit.")] = 1e-3,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every row, not only those that differ.")
    ] = False,
    *,
    load: Annotated[dict[str, Any], Given(LoadSettings, without=("visibility",))],
    shards: options.Shards = None,
    address: options.Address = None,
) -> None:
    """Replay TRACE and compare it with the engine.

    Exit code 0 if it agrees, 1 if it differs.

    By default the recorded tokens are fed and the logits compared. A greedy token may differ only
    if the recorded margin is below twice the tolerance. Engine settings and dtype default to those
    of the recording, then to those of `hogwild run`.
    """
    if free and (verbose or logits is not None):
        raise ConfigError("--logits and --verbose are about fed tokens; leave out --free.")
    recorded = read_trace(trace)
    defaults = recorded_settings(recorded) | {"dtype": recorded_dtype(recorded)}
    target = ExecutionTarget(
        load_settings=from_flat(LoadSettings, defaults | load),
        placement=ShardOptions(shards=shards),
        address=address,
    )
    with backend(target) as place:
        info = place.info if isinstance(place, ShardGroup) else place.model.info
        check_fits(recorded, info, place.tokenizer)
        if free:
            agrees = _show_free(recorded, _replay_free(place, recorded))
        else:
            rows = _show_rows(recorded, _replay_fed(place, recorded), tolerance, verbose)
            agrees = _show_verdict(recorded, rows, tolerance)
            if logits is not None:
                _write_logits(rows, logits)
    raise typer.Exit(0 if agrees else DIFFERS)


def _replay_fed(place: Engine | ShardGroup, trace: Trace) -> Iterable[RowComparison]:
    return place.replay_fed(trace) if isinstance(place, ShardGroup) else replay_fed(trace, place)


def _replay_free(place: Engine | ShardGroup, trace: Trace) -> Iterable[list[str]]:
    return place.replay_free(trace) if isinstance(place, ShardGroup) else replay_free(trace, place)


def _show_rows(
    trace: Trace, compared: Iterable[RowComparison], tolerance: float, verbose: bool
) -> list[RowComparison]:
    """Print the rows that differ, or all, and return all."""
    rows = []
    names = trace.worker_names()
    for row in compared:
        rows.append(row)
        if row.agrees(tolerance) and not verbose:
            continue
        token = "same token" if row.argmax == row.expected else f"token {row.argmax}, recorded "
        token += "" if row.argmax == row.expected else f"{row.expected} (margin {row.margin:g})"
        verdict = "ok" if row.agrees(tolerance) else "DIFFERS"
        row_label = f"step {row.step:4d}  {names[row.worker]:12s}"
        print(f"{row_label} difference {row.difference:.2e}  {token}  {verdict}")
    return rows


def _show_verdict(trace: Trace, rows: list[RowComparison], tolerance: float) -> bool:
    """Print how far the rows are from the recording, and return whether they agree with it."""
    worst = max((row.difference for row in rows), default=0.0)
    bad = sum(not row.agrees(tolerance) for row in rows)
    greedy = sum(row.argmax == row.expected for row in rows)
    print(
        f"{len(trace.steps)} steps, {len(rows)} rows: largest difference {worst:.2e} (tolerance "
        f"{tolerance:g}), {greedy} of {len(rows)} greedy tokens agree, {bad} rows differ"
    )
    return bad == 0


def _show_free(trace: Trace, steps: Iterable[list[str]]) -> bool:
    num_bad = 0
    for index, differences in enumerate(steps):
        for difference in differences:
            print(f"step {index:4d}  {difference}")
        num_bad += bool(differences)
    print(f"{len(trace.steps)} steps chosen freely: {num_bad} differ from the recording")
    return num_bad == 0


def _write_logits(rows: list[RowComparison], out: Path) -> None:
    steps: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        steps.setdefault(row.step, []).append(
            {"worker": row.worker, "logits": list(row.logits), "argmax": row.argmax}
        )
    text = json.dumps({"steps": [{"rows": steps[index]} for index in sorted(steps)]})
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TraceError(f"Logits cannot be written to {str(out)!r}: {error.strerror}.") from error
