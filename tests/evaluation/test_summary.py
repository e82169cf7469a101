"""The table of an evaluation, and its intervals."""

from dataclasses import replace
from random import Random

import pytest

from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.stats import clustered, wilson
from hogwild_dist.evaluation.summary import summarize
from tests.evaluation.test_report import RECORD

RECORDS = [
    RECORD,
    replace(RECORD, team="independent", right=(False, None), error="it looped"),
    Record(team="peers", seed=0, line=2, question="?", known="3", error="lost"),
]


def test_what_failed_is_not_right_and_stands_apart() -> None:
    rows = {
        (row.team, row.budget): row for row in summarize(RECORDS, ["peers", "independent"], (4,))
    }
    assert [(row.right, row.runs, row.failed) for row in rows.values()] == [
        (0, 2, 1), (1, 2, 1), (0, 1, 0), (0, 1, 1),
    ]  # fmt: skip
    assert rows["peers", None].accuracy == 0.5
    assert rows["independent", None].accuracy == 0


def test_figures_of_whole_runs_stand_at_the_end_alone() -> None:
    early = replace(RECORD, line=3, forwards=2)
    budget, end = summarize([RECORD, early], ["peers"], (4,))
    assert (budget.forwards, end.forwards) == (3, 4)  # 6 and 2 forwards; 4 and 2 by the budget
    assert (budget.tokens, budget.seconds, budget.redundancy) == (None, None, None)
    assert (end.tokens, end.seconds, end.redundancy) == (10, 1.5, 0.5)


def test_seeds_of_one_question_are_one_cluster() -> None:
    runs = [replace(RECORD, line=line, seed=seed) for line in (1, 2, 3) for seed in range(5)]
    wrong = [replace(one, right=(False, one.line > 1)) for one in runs]
    row = summarize(wrong, ["peers"], (4,))[-1]
    assert (row.low, row.high) == clustered([(0, 5), (5, 5), (5, 5)])
    assert row.high - row.low > wilson(10 / 15, 15)[1] - wilson(10 / 15, 15)[0]


@pytest.mark.parametrize("right", [0, 3, 10])
def test_with_one_seed_the_interval_is_wilsons(right: int) -> None:
    counts = [(1, 1)] * right + [(0, 1)] * (10 - right)
    assert clustered(counts) == pytest.approx(wilson(right / 10, 10))


def test_seeds_that_repeat_each_other_tell_next_to_nothing_new() -> None:
    once = wilson(20 / 50, 50)
    repeated = clustered([(8, 8)] * 20 + [(0, 8)] * 30)
    assert repeated == pytest.approx(once, abs=0.005)
    assert clustered([(0, 8)] * 50) == wilson(0, 50)
    assert clustered([(8, 8)]) == wilson(1, 1)
    assert clustered([(3, 8)]) == pytest.approx(clustered([(6, 16)]))
    assert clustered([]) == (0, 1)


def test_the_interval_covers_the_share_where_wilsons_does_not() -> None:
    """Questions of their own difficulty, eight seeds each: a simulation knows the true share."""
    random = Random(0)
    covered = {"clustered": 0, "wilson": 0}
    for _ in range(1000):
        chances = [random.betavariate(0.6, 0.9) for _ in range(40)]
        counts = [(sum(random.random() < chance for _ in range(8)), 8) for chance in chances]
        low, high = clustered(counts)
        covered["clustered"] += low <= 0.4 <= high
        low, high = wilson(sum(right for right, _ in counts) / 320, 320)
        covered["wilson"] += low <= 0.4 <= high
    assert 930 <= covered["clustered"] <= 970
    assert covered["wilson"] < 750
