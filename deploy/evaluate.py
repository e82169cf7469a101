"""`hogwild eval`: teams on a dataset, graded, with a table at the end."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy import options
from deploy.grouped import grouped
from deploy.place_options import EngineOptions, ShardOptions, where_from
from deploy.team_options import PromptOptions
from deploy.where import Where, backend
from deploy.writing_options import SamplingOptions
from hogwild_dist import AnswerForm, Finish, Limits, SamplingConfig, Team, load_team
from hogwild_dist.answers import FormKind
from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.dataset import Item, read_items
from hogwild_dist.evaluation.grading import GraderKind, GraderPool
from hogwild_dist.evaluation.records import Records
from hogwild_dist.evaluation.runs import evaluate
from hogwild_dist.evaluation.summary import Row, summarize


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """Which questions."""

    limit: Annotated[int | None, typer.Option(help="Questions at most.")] = None
    question_field: Annotated[str | None, typer.Option(help="Field of the question.")] = None
    answer_field: Annotated[str | None, typer.Option(help="Field of the answer.")] = None

    def read(self, data: Path) -> list[Item]:
        """The items; a line that is none is named on standard error.

        Raises:
            ConfigError: there are none.
        """
        items, faults = read_items(
            data, question=self.question_field, answer=self.answer_field, limit=self.limit
        )
        for fault in faults:
            _tell(f"hogwild: {fault} It is left out.")
        return items


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """Which teams, and how often and when they are asked."""

    teams: Annotated[str, typer.Option(help="Teams between commas.")] = "peers,independent"
    budgets: Annotated[str, typer.Option(help="Steps after which an answer is stated.")] = ""
    seeds: Annotated[str, typer.Option(help="Seeds between commas.")] = "0"
    workers: Annotated[int | None, typer.Option(help="Workers of each team.")] = None
    max_tokens: Annotated[int, typer.Option(help="Tokens of each worker.")] = 512
    finisher_tokens: Annotated[int, typer.Option(help="Length of a stated answer.")] = 64

    def make(
        self, form: AnswerForm, sampling: SamplingConfig, prompts: PromptOptions
    ) -> dict[str, Team]:
        """The teams by name.

        Raises:
            ConfigError: there is no such team, or it cannot work with these options.
        """
        made = {}
        for name in filter(None, self.teams.split(",")):
            plan = load_team(name)
            made[plan.name] = replace(
                plan.team(self.workers),
                prompts=prompts.load(plan.layout.name),
                sampling=sampling,
                limits=Limits(max_tokens=self.max_tokens),
                finish=Finish(
                    form=form,
                    by=plan.file.finish.by,
                    vote=plan.file.finish.vote,
                    finisher_tokens=self.finisher_tokens,
                    budgets=options.numbers("budgets", self.budgets),
                ),
            )
            made[plan.name].check()
        return made


@grouped
def eval_command(
    data: Annotated[Path, typer.Argument(help="JSONL with a question and an answer in each line.")],
    grader: Annotated[GraderKind, typer.Option(help="How answers are compared.")],
    compare: CompareOptions,
    questions: DataOptions,
    sampling: SamplingOptions,
    prompts: PromptOptions,
    engine: EngineOptions,
    shards: ShardOptions,
    address: options.Address = None,
    out: Annotated[Path, typer.Option(help="Results; a second run goes on from them.")] = Path(
        "results.jsonl"
    ),
) -> None:
    """Let teams answer the questions of DATA, and print how often they are right."""
    items = questions.read(data)
    kind = FormKind.CODE if grader is GraderKind.CODE else FormKind.BOXED
    teams = compare.make(AnswerForm(kind=kind), sampling.config(), prompts)
    budgets = options.numbers("budgets", compare.budgets)
    where = where_from(engine, shards, address=address)
    settings: dict[str, object] = {
        "model": engine.model,
        "grader": grader.value,
        "budgets": list(budgets),
        "workers": compare.workers,
        "max_tokens": compare.max_tokens,
        "finisher_tokens": compare.finisher_tokens,
        **asdict(sampling),
        **asdict(prompts),
        "prompts": None if prompts.prompts is None else str(prompts.prompts),
        "visibility": engine.visibility.value,
        "data": data.name,
    }
    records = Records(out, settings)
    wanted = list(_wanted(teams, options.numbers("seeds", compare.seeds), items, records))
    if wanted:
        _run(where, grader, wanted, records)
    else:
        _tell("all of it was done before")
    _print(summarize(records.all, list(teams), budgets))
    try:
        _report(records, out.with_suffix(".html"))
    except ConfigError as error:
        _tell(f"hogwild: {error}")


def report_command(
    results: Annotated[Path, typer.Argument(help="What `hogwild eval` wrote with --out.")],
    out: Annotated[Path | None, typer.Option(help="The page; beside RESULTS by default.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write the plots to a folder.")] = None,
) -> None:
    """Print the table of RESULTS again, and write its page and plots."""
    records = Records(results)
    _print(summarize(records.all, records.teams, records.budgets))
    _report(records, out or results.with_suffix(".html"), plots)


def _report(records: Records, path: Path, plots: Path | None = None) -> None:
    """Write page and plots, where the library for them is there."""
    try:
        from hogwild_dist.evaluation.report import write_plots, write_report  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Page and plots need {error.name}, which is not installed; install it with "
            "pip install 'hogwild-dist[eval]' and call `hogwild report`."
        ) from error
    write_report(records, path)
    _tell(f"page with plots and transcripts: {path}")
    for plot in write_plots(records, plots) if plots is not None else ():
        _tell(f"plot: {plot}")


def _run(
    where: Where, grader: GraderKind, wanted: list[tuple[str, Team, Item]], records: Records
) -> None:
    """Run and grade what is wanted, and keep each result at once."""
    with backend(where) as place, GraderPool(grader) as graders:
        for number, (name, team, item) in enumerate(wanted, start=1):
            record = evaluate(place, item, name, team, graders)
            records.add(record)
            told = record.error or _marks(record.right)
            _tell(f"{number}/{len(wanted)}  {name}  line {item.line}  {told}")


def _wanted(
    teams: dict[str, Team], seeds: tuple[int, ...], items: list[Item], records: Records
) -> Iterator[tuple[str, Team, Item]]:
    """What has not been run yet; question by question, so that what there is compares teams."""
    if not seeds or not teams:
        raise ConfigError("There is nothing to run; name at least one team and one seed.")
    done = {record.key for record in records.all if record.ran}
    for item in items:
        for seed in seeds:
            for name, team in teams.items():
                if (name, seed, item.line) not in done:
                    yield name, replace(team, seed=seed), item


def _marks(right: tuple[bool | None, ...]) -> str:
    """One sign for each budget and the end."""
    signs = {True: "+", False: "-", None: "?"}
    return "".join(signs[one] for one in right)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(rows: list[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("team")
    for name in (
        "budget",
        "right",
        "accuracy",
        "95 %",
        "tokens",
        "forwards",
        "s",
        "redundancy",
        "failed",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.team,
            "end" if row.budget is None else str(row.budget),
            f"{row.right}/{row.graded}",
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{row.tokens:.0f}",
            f"{row.forwards:.0f}",
            f"{row.seconds:.1f}",
            f"{row.redundancy:.1%}",
            str(row.failed),
        )
    Console(width=None if Console().is_terminal else 120).print(table)
