"""`hogwild eval`: teams on a dataset, graded, with a table at the end."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
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
    """Which questions."""

    limit: Annotated[int | None, typer.Option(help="Questions at most.")] = None
    question_field: Annotated[str | None, typer.Option(help="Field of the question.")] = None
    answer_field: Annotated[str | None, typer.Option(help="Field of the answer.")] = None

    def read(self, data: Path, grader: GraderKind) -> tuple[list[Item], list[str]]:
        """The items, and a sentence for each line that is none, or that cannot be graded.

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
        """What results must have been made with, to go on from them."""
        return {
            "data": data.name,
            "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
            "question_field": self.question_field,
            "answer_field": self.answer_field,
        }


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
            ConfigError: there is none or no such team, two have one name, or one cannot work with
                these options.
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
            raise ConfigError("--teams names no team; name at least one, peers say.")
        return made

    def each_seed(self) -> tuple[int, ...]:
        """The seeds.

        Raises:
            ConfigError: there is none, or one stands twice.
        """
        seeds = options.numbers("seeds", self.seeds, "0,1,2")
        if not seeds:
            raise ConfigError("--seeds names no seed; name at least one, 0 say.")
        seed, count = Counter(seeds).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"--seeds names {seed} {count} times; name every seed once.")
        return seeds


@grouped
def eval_command(
    data: Annotated[Path, typer.Argument(help="JSONL with a question and an answer in each line.")],
    grader: Annotated[GraderKind, typer.Option(help="How answers are compared.")],
    compare: CompareOptions,
    questions: DataOptions,
    sampling: SamplingOptions,
    prompts: PromptOptions,
    load: LoadSettings,
    shards: ShardOptions,
    address: options.Address = None,
    out: Annotated[Path, typer.Option(help="Results; a second run goes on from them.")] = Path(
        "results.jsonl"
    ),
) -> None:
    """Let teams answer the questions of DATA, and print how often they are right.

    While it runs, each answer has a sign, at the budgets and at the end: + right, - wrong,
    ? not graded.
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
        **asdict(sampling),
        **questions.settings(data),
    }
    records = Records(out, settings)
    for name, team in teams.items():
        records.check_team(name, fingerprint(team))
    records.check_writable()
    for fault in faults:
        tell(f"hogwild: {fault} It is left out.")
    plotted = _plots_are_there()
    wanted = list(_wanted(teams, seeds, items, records))
    if wanted:
        try:
            _run(target, grader, wanted, records)
        except KeyboardInterrupt:
            tell("stopped; what is done is kept, and the same command goes on from it")
            raise typer.Exit(CANCELLED) from None
    else:
        tell("all of it was done before")
    print_table(summarize(records.all, list(teams), budgets))
    failed = len(list(_wanted(teams, seeds, items, records)))
    if failed:
        tell(f"{failed} failed and count as wrong; the same command runs them again")
    if plotted:
        write_page(records, page)


def _plots_are_there() -> bool:
    """Whether there can be a page; said before anything is run where there can be none."""
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
    """Run and grade what is wanted, and keep each result at once."""
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
    """What is not done yet; question by question, so that what there is compares teams."""
    done = {record.key for record in records.all if record.done}
    for item in items:
        for seed in seeds:
            for name, team in teams.items():
                if (name, seed, item.line) not in done:
                    yield name, replace(team, seed=seed), item


def _legend(team: Team) -> str:
    """What the signs mean."""
    assert team.answer_policy is not None, "an evaluation asks for answers"
    places = [f"after {budget} steps" for budget in team.answer_policy.budgets]
    return f"+ right, - wrong, ? not graded: {', '.join([*places, 'at the end'])}"


def _marks(right: tuple[bool | None, ...]) -> str:
    """One sign for each budget and the end."""
    signs = {True: "+", False: "-", None: "?"}
    return "".join(signs[one] for one in right)
