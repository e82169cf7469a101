"""What a table says about an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.stats import wilson


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A team at a budget.

    Attributes:
        team: its name.
        budget: steps of the team; None is the end.
        right: right answers.
        graded: answers that were graded.
        low: lower end of the 95 % interval of the accuracy.
        high: upper end.
        tokens: a run, on average (of the whole run).
        forwards: a run, on average.
        seconds: a run, on average.
        redundancy: on average over workers and runs.
        failed: runs or gradings that went wrong.
    """

    team: str
    budget: int | None
    right: int
    graded: int
    low: float
    high: float
    tokens: float
    forwards: float
    seconds: float
    redundancy: float
    failed: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.graded if self.graded else 0.0


def summarize(records: Sequence[Record], teams: Sequence[str], budgets: Sequence[int]) -> list[Row]:
    """A row for each team and budget, and for its end."""
    return [
        _row([one for one in records if one.team == team], team, place, budget)
        for team in teams
        for place, budget in enumerate([*budgets, None])
    ]


def _row(records: Sequence[Record], team: str, place: int, budget: int | None) -> Row:
    ran = [one for one in records if one.ran]
    graded = [one.right[place] for one in ran if one.right[place] is not None]
    right = sum(map(bool, graded))
    low, high = wilson(right, len(graded))

    def mean(values: list[float]) -> float:
        return fmean(values) if values else 0.0

    return Row(
        team=team,
        budget=budget,
        right=right,
        graded=len(graded),
        low=low,
        high=high,
        tokens=mean([one.tokens for one in ran]),
        forwards=mean([one.forwards for one in ran]),
        seconds=mean([one.seconds for one in ran]),
        redundancy=mean([one.mean_redundancy for one in ran]),
        failed=sum(one.error is not None for one in records),
    )
