"""The table of an evaluation: a row for each team and budget."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.stats import clustered


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One team at one budget. Means are over completed runs.

    Attributes:
        team: name of the team.
        budget: number of the team's steps; None is the end.
        right: number of right answers.
        runs: number of runs; failed ones count as wrong.
        failed: number of runs that failed or could not be graded.
        low: lower end of the accuracy's 95 % interval.
        high: upper end of the accuracy's 95 % interval.
        forwards: mean number of forward passes up to the budget.
        tokens: mean number of tokens of a whole run; None at a budget.
        seconds: mean time of a whole run in seconds; None at a budget.
        redundancy: mean redundancy over workers and whole runs; None at a budget.
    """

    team: str
    budget: int | None
    right: int
    runs: int
    failed: int
    low: float
    high: float
    forwards: float
    tokens: float | None = None
    seconds: float | None = None
    redundancy: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of right answers among all runs."""
        return self.right / self.runs if self.runs else 0.0


def summarize(records: Sequence[Record], teams: Sequence[str], budgets: Sequence[int]) -> list[Row]:
    """Return a row for each team at each budget and at the end."""
    return [
        _row([record for record in records if record.team == team], team, index, budget)
        for team in teams
        for index, budget in enumerate([*budgets, None])
    ]


def _row(records: Sequence[Record], team: str, index: int, budget: int | None) -> Row:
    ran = [record for record in records if record.ran]
    questions: dict[int, list[bool]] = defaultdict(list)
    for record in records:
        questions[record.line].append(record.ran and record.right[index] is True)
    low, high = clustered((sum(runs), len(runs)) for runs in questions.values())
    row = Row(
        team=team,
        budget=budget,
        right=sum(map(sum, questions.values())),
        runs=len(records),
        failed=sum(not record.ran or record.right[index] is None for record in records),
        low=low,
        high=high,
        forwards=_mean([min(record.forwards, budget or record.forwards) for record in ran]),
    )
    if budget is not None:
        return row
    return replace(
        row,
        tokens=_mean([record.tokens for record in ran]),
        seconds=_mean([record.seconds for record in ran]),
        redundancy=_mean([record.mean_redundancy for record in ran]),
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
