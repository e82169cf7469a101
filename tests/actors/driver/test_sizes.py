"""What updates are believed to need in memory is about what they need."""

import pickle
import tracemalloc

import pytest

from hogwild_dist.actors.driver.sizes import bytes_of
from hogwild_dist.config import Visibility
from tests.exchange import grid
from tests.exchange.test_crowd import spec

COPIES = 50


@pytest.mark.parametrize("recorded", [False, True])
def test_the_size_of_updates_is_about_what_they_take(recorded: bool) -> None:
    updates = grid.alone(spec(1), Visibility.NEXT_STEP, recorded=recorded).updates
    sent = [pickle.dumps(update) for update in updates] * COPIES
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        received = [pickle.loads(one) for one in sent]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 < sum(map(bytes_of, received)) / taken < 2.0
