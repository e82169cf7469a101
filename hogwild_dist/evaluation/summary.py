"""What a table says about an evaluation."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.stats import clustered


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A team at a budget. What is known of whole runs alone is None at a budget.

    Attributes:
        team: its name.
        budget: steps of the team; None is the end.
        right: right answers.
        runs: all of them; one that failed, or could not be graded, is not right.
        failed: those among them.
        low: lower end of the 95 % interval of the accuracy.
        high: upper end.
        forwards: up to here, on average over the runs that came to their end.
        tokens: of a run, on average over the same.
        seconds: of a run, on average.
        redundancy: on average over workers and runs.
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
        """Share of right answers; failures do not raise it."""
        return self.right / self.runs if self.runs else 0.0


def summarize(records: Sequence[Record], teams: Sequence[str], budgets: Sequence[int]) -> list[Row]:
    """A row for each team and budget, and for its end."""
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
