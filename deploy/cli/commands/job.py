"""`hogwild job`: solve the problems of a JSONL file; a stopped job resumes.

hogwild job problems.jsonl results.jsonl --workers 2 --shards 2

A line of the first file is ``{"id": ..., "problem": "..."}``; the default id is the line's number.
A line of the second has the same id, and the texts, counts and reasons of `hogwild_dist.Result`, or
an error. A line is written when its problem is done, so that an interrupted job loses only the
running problems. On a cluster, ``ray job submit -- hogwild job ...`` reads and writes both files on
the head node.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hogwild_dist import Run, Team
from hogwild_dist.deploy.cli.execution import ExecutionTarget, group, model_sampling
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.grouped import grouped
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.deploy.cli.options.sampling import LimitOptions, SamplingOptions
from hogwild_dist.deploy.cli.options.team import PromptOptions, TeamOptions
from hogwild_dist.errors import ConfigError, ContextLimitError, check_positive
from hogwild_dist.run.backend import Backend
from hogwild_dist.run.load import LoadSettings


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the input."""

    id: str | int
    text: str


@grouped
def job_command(
    problems: Annotated[Path, typer.Argument(help="JSONL file with a problem per line.")],
    results: Annotated[Path, typer.Argument(help="JSONL file to write or to continue.")],
    team: TeamOptions,
    prompts: PromptOptions,
    sampling: SamplingOptions,
    limits: LimitOptions,
    load: LoadSettings,
    shards: ShardOptions,
    sessions: Annotated[int, typer.Option(help="Problems solved at the same time.")] = 4,
    seed: options.Seed = 0,
    address: options.Address = None,
) -> None:
    """Let a team work on every problem of PROBLEMS.

    The same command resumes a stopped job: problems that have a line in RESULTS are left out.
    """
    workers = replace(
        team.make(team.plan(), prompts),
        sampling=sampling.config(),  # refuses a wrong number before anything is loaded
        limits=limits.limits(),
        seed=seed,
    )
    workers.check()
    target = ExecutionTarget(load_settings=load, placement=shards, address=address)
    check_positive("sessions", sessions)
    everything = read_problems(problems)
    done = read_done(results)
    left = [problem for problem in everything if problem.id not in done]
    print(f"{len(everything)} problems, {len(everything) - len(left)} done before", flush=True)
    if not left:
        return
    with group(target) as place, results.open("a", encoding="utf-8") as out:
        workers = replace(workers, sampling=model_sampling(sampling, place.info))
        for number, line in enumerate(solve(place, workers, left, sessions), start=1):
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
            print(f"{number} of {len(left)}: {_summary(line)}", flush=True)


def solve(
    backend: Backend, team: Team, problems: Sequence[Problem], num_sessions: int
) -> Iterator[dict[str, Any]]:
    """Yield result lines as problems are done, `num_sessions` problems at a time."""
    with ThreadPoolExecutor(num_sessions) as pool:
        waiting: set[Future[dict[str, Any]]] = set()
        rest = iter(problems)
        while True:
            for problem in rest:
                waiting.add(pool.submit(_solve_one, backend, team, problem))
                if len(waiting) == num_sessions:
                    break
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def read_problems(path: Path) -> list[Problem]:
    """Read the input.

    Raises:
        ConfigError: a line is not a problem, or two lines share an id; the error names the line.
    """
    found: dict[str | int, Problem] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        fields = _object(line)
        text = None if fields is None else fields.get("problem")
        if fields is None or not isinstance(text, str) or not text.strip():
            raise ConfigError(
                f'Line {number} of {str(path)!r} is not {{"problem": "..."}}: '
                f"{line.strip()[:60]!r}."
            )
        problem = Problem(fields.get("id", number), text)
        if not isinstance(problem.id, str | int) or problem.id in found:
            raise ConfigError(
                f"Line {number} of {str(path)!r} has the id {problem.id!r}, which is used twice "
                "or is neither text nor a number; give every problem its own."
            )
        found[problem.id] = problem
    return list(found.values())


def read_done(path: Path) -> set[str | int]:
    """Return the ids of earlier results; an incomplete last line is cut off.

    Raises:
        ConfigError: the file does not hold results.
    """
    if not path.exists():
        return set()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    done = set()
    for number, line in enumerate(whole.decode("utf-8", "replace").splitlines(), start=1):
        fields = _object(line)
        if fields is None or "id" not in fields:
            raise ConfigError(
                f"Line {number} of {str(path)!r} is not a result of this job; choose another file."
            )
        done.add(fields["id"])
    return done


def _solve_one(backend: Backend, team: Team, problem: Problem) -> dict[str, Any]:
    """Return a result line; a problem that cannot be solved gives an error line."""
    about = {"id": problem.id, "problem": problem.text}
    try:
        with Run(backend, problem.text, team) as run:
            for _ in run:
                pass
    except (ConfigError, ContextLimitError) as error:
        return {**about, "error": str(error)}
    return {**about, **asdict(run.result), "error": None}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The problems in {str(path)!r} cannot be read: {error}.") from error


def _object(line: str) -> Mapping[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _summary(line: Mapping[str, Any]) -> str:
    if line["error"] is not None:
        return f"{line['id']}: {line['error']}"
    tokens = sum(line["num_tokens"].values())
    return f"{line['id']}: {tokens} tokens in {line['seconds']:.1f} s, {line['end_reason']}"
