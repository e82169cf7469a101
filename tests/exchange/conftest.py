from collections.abc import Iterator

import pytest

from tests.rank_pool import RankPool


@pytest.fixture
def mortal() -> Iterator[RankPool]:
    """Ranks that may die in a test."""
    pool = RankPool()
    yield pool
    pool.close()
