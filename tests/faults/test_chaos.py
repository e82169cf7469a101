"""A few trials of many faults; `make chaos` plays more."""

from pathlib import Path

import pytest

from tests.faults.chaos.play import play
from tests.faults.chaos.schedule import trial

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "seed", [1007, *(pytest.param(seed, marks=pytest.mark.full_grid) for seed in range(20, 40))]
)
def test_sessions_outlive_whatever_happens(seed: int, tmp_path: Path) -> None:
    seen = play(trial(seed, num_faults=10), tmp_path)
    assert (seen.problem, set(seen.errors)) == ("", {None})
    assert seen.struck
