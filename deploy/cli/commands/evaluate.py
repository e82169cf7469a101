"""`hogwild eval`: run teams on a dataset, grade their answers, and print a table."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from hogwild_dist import AnswerForm, AnswerPolicy, Limits, SamplingConfig, Team, load_team
from hogwild_dist.deploy.cli.commands.report import (
    check_page,
    check_plots,
    page_beside,
    print_table,
    tell,
    write_page,
)
from hogwild_dist.deploy.cli.commands.run import CANCELLED
from hogwild_dist.deploy.cli.execution import ExecutionTarget, backend
from hogwild_dist.deploy.cli.options import common as options
from hogwild_dist.deploy.cli.options.grouped import grouped
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.deploy.cli.options.sampling import SamplingOptions
from hogwild_dist.deploy.cli.options.team import PromptOptions
from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.dataset import Item, read_items
from hogwild_dist.evaluation.grading import GraderKind, GraderPool
from hogwild_dist.evaluation.records import Records
from hogwild_dist.evaluation.runs import evaluate, fingerprint
from hogwild_dist.evaluation.summary import summarize
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.session.answers import FormKind


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """Questions of the dataset to use."""

    limit: Annotated[int | None, typer.Option(help="Most questions to use.")] = None
    question_field: Annotated[str | None, typer.Option(help="Name of the question field.")] = None
    answer_field: Annotated[str | None, typer.Option(help="Name of the answer field.")] = None

    def read(self, data: Path, grader: GraderKind) -> tuple[list[Item], list[str]]:
        """Return the items, and a sentence for each line that is invalid or cannot be graded.

        Raises:
            ConfigError: there are no items, or the grader's library is not installed.
        """
        with GraderPool(grader) as graders:
            return read_items(
                data,
                question=self.question_field,
                answer=self.answer_field,
                limit=self.limit,
                check=graders.check,
            )

    def settings(self, data: Path) -> dict[str, object]:
        """Return the settings that earlier results must share to be continued."""
        return {
            "data": data.name,
            "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
            "question_field": self.question_field,
            "answer_field": self.answer_field,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """Teams to compare, their seeds and budgets."""

    teams: Annotated[str, typer.Option(help="Teams, separated by commas.")] = "peers,independent"
    budgets: Annotated[str, typer.Option(help="Steps after which to state an answer: 64,128.")] = ""
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0"
    workers: Annotated[int | None, typer.Option(help="Number of workers of each team.")] = None
    max_tokens: Annotated[int, typer.Option(help="Most tokens of each worker.")] = 512
    finisher_tokens: Annotated[int, typer.Option(help="Most tokens of a stated answer.")] = 64

    def make(
        self, form: AnswerForm, sampling: SamplingConfig, prompts: PromptOptions
    ) -> dict[str, Team]:
        """Return the teams by name.

        Raises:
            ConfigError: no team is named, a team is unknown or does not fit the options, or two
                teams share a name.
        """
        made: dict[str, Team] = {}
        files: dict[str, str] = {}
        for name in filter(None, map(str.strip, self.teams.split(","))):
            plan = load_team(name)
            if plan.name in files:
                raise ConfigError(
                    f"--teams names two teams {plan.name!r} ({files[plan.name]} and {name}); drop "
                    "one, or give its file another name."
                )
            files[plan.name] = name
            made[plan.name] = replace(
                plan.team(self.workers),
                prompts=prompts.load(plan.layout.name),
                sampling=sampling,
                limits=Limits(max_tokens=self.max_tokens),
                answer_policy=AnswerPolicy(
                    form=form,
                    by=plan.file.finish.by,
                    vote=plan.file.finish.vote,
                    finisher_tokens=self.finisher_tokens,
                    budgets=options.numbers("budgets", self.budgets),
                ),
            )
            made[plan.name].check()
        if not made:
            raise ConfigError("--teams names no team; name at least one, for example peers.")
        return made

    def each_seed(self) -> tuple[int, ...]:
        """Return the seeds.

        Raises:
            ConfigError: no seed is named, or a seed is named twice.
        """
        seeds = options.numbers("seeds", self.seeds, "0,1,2")
        if not seeds:
            raise ConfigError("--seeds names no seed; name at least one, for example 0.")
        seed, count = Counter(seeds).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"--seeds names {seed} {count} times; name every seed once.")
        return seeds


@grouped
def eval_command(
    data: Annotated[Path, typer.Argument(help="JSONL file: a question and an answer per line.")],
    grader: Annotated[GraderKind, typer.Option(help="Method that compares answers.")],
    compare: CompareOptions,
    questions: DataOptions,
    sampling: SamplingOptions,
    prompts: PromptOptions,
    load: LoadSettings,
    shards: ShardOptions,
    address: options.Address = None,
    out: Annotated[Path, typer.Option(help="File of results; a second run continues it.")] = Path(
        "results.jsonl"
    ),
) -> None:
    """Evaluate teams on the questions of DATA.

    It prints how often they are right; while it runs, it prints a sign for each answer, at the
    budgets and at the end: + right, - wrong, ? not graded.
    """
    page = page_beside(out)
    check_page(page, out, data)
    kind = FormKind.CODE if grader is GraderKind.CODE else FormKind.BOXED
    teams = compare.make(AnswerForm(kind=kind), sampling.config(), prompts)
    seeds = compare.each_seed()
    budgets = options.numbers("budgets", compare.budgets)
    target = ExecutionTarget(load_settings=load, placement=shards, address=address)
    items, faults = questions.read(data, grader)
    settings: dict[str, object] = {
        "model": load.model,
        "dtype": load.dtype,
        "visibility": load.engine.visibility.value,
        "grader": grader.value,
        "budgets": list(budgets),
        "max_tokens": compare.max_tokens,
        "finisher_tokens": compare.finisher_tokens,
        **sampling.recorded(),
        **questions.settings(data),
    }
    records = Records(out, settings)
    for name, team in teams.items():
        records.check_team(name, fingerprint(team))
    records.check_writable()
    for fault in faults:
        tell(f"hogwild: {fault} It is skipped.")
    plotted = _plots_are_there()
    wanted = list(_wanted(teams, seeds, items, records))
    if wanted:
        try:
            _run(target, grader, wanted, records)
        except KeyboardInterrupt:
            tell("stopped; the results are kept, and the same command continues")
            raise typer.Exit(CANCELLED) from None
    else:
        tell("all runs were done before")
    print_table(summarize(records.all, list(teams), budgets))
    failed = len(list(_wanted(teams, seeds, items, records)))
    if failed:
        tell(f"{failed} failed and count as wrong; the same command repeats them")
    if plotted:
        write_page(records, page)


def _plots_are_there() -> bool:
    """Return whether plots can be drawn; if not, print the reason before the evaluation."""
    try:
        check_plots()
    except ConfigError as error:
        tell(f"hogwild: {error}")
        return False
    return True


def _run(
    target: ExecutionTarget,
    grader: GraderKind,
    wanted: list[tuple[str, Team, Item]],
    records: Records,
) -> None:
    """Run and grade the wanted runs, and save each result at once."""
    tell(_legend(wanted[0][1]))
    with backend(target) as place, GraderPool(grader) as graders:
        for number, (name, team, item) in enumerate(wanted, start=1):
            record = evaluate(place, item, name, team, graders)
            records.add(record)
            outcome = record.error or _marks(record.right)
            tell(f"{number}/{len(wanted)}  {name}  line {item.line}, seed {team.seed}  {outcome}")


def _wanted(
    teams: dict[str, Team], seeds: tuple[int, ...], items: list[Item], records: Records
) -> Iterator[tuple[str, Team, Item]]:
    """Yield the missing runs, question by question, so that partial results compare teams."""
    done = {record.key for record in records.all if record.done}
    for item in items:
        for seed in seeds:
            for name, team in teams.items():
                if (name, seed, item.line) not in done:
                    yield name, replace(team, seed=seed), item


def _legend(team: Team) -> str:
    """Return the meaning of the signs."""
    assert team.answer_policy is not None, "an evaluation asks for answers"
    places = [f"after {budget} steps" for budget in team.answer_policy.budgets]
    return f"+ right, - wrong, ? not graded: {', '.join([*places, 'at the end'])}"


def _marks(right: tuple[bool | None, ...]) -> str:
    """Return a sign for each budget and for the end."""
    signs = {True: "+", False: "-", None: "?"}
    return "".join(signs[one] for one in right)
