"""However the workers are spread over shards, they write what one process writes."""

from functools import cache

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.session.events import ParagraphEnd
from tests.exchange import grid
from tests.exchange.forms import FORMS
from tests.exchange.grid import Case, Played
from tests.rank_pool import RankPool

pytestmark = pytest.mark.slow


alone = cache(lambda case: grid.alone(case.spec(), case.visibility))
"""What one process writes for a case."""


def check(
    case: Case, ranks: RankPool, attention: str | None = None, form: str = "together"
) -> Played:
    spec = case.spec()
    settings = (case.visibility, 8_192, attention, form)
    played = ranks.run(grid.on_a_rank, case.shards, [spec], *settings)
    oracle = alone(case)
    for one in played:
        assert [u.events for u in one.updates] == [u.events for u in oracle.updates]
        assert one.checksums == played[0].checksums
        assert one.free_pages == 8_192 // 64
    assert set(played[0].checksums[1]) == set(oracle.checksums[0 if 0 in oracle.checksums else 1])
    return played[0]


@pytest.mark.parametrize("case", grid.pairwise_cases(), ids=str)
def test_shards_write_what_one_process_writes(case: Case, ranks: RankPool) -> None:
    played = check(case, ranks)
    events = [event for update in played.updates for event in update.events]
    moves = any(isinstance(event, ParagraphEnd) for event in events)
    assert moves == (case.layout in ("combined", "interleaved", "critic"))


@pytest.mark.parametrize("case", grid.peers_at_every_visibility(), ids=str)
def test_so_they_do_when_headers_travel_apart(case: Case, ranks: RankPool) -> None:
    check(case, ranks, form="apart")


@pytest.mark.full_grid
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", grid.every_case(), ids=str)
def test_every_case(case: Case, form: str, ranks: RankPool) -> None:
    check(case, ranks, form=form)


def test_the_selection_holds_every_pair() -> None:
    chosen = grid.pairwise_cases()
    assert len(chosen) < 40
    for first in Visibility:
        for workers in (2, 3, 4, 8):
            assert any(c.visibility is first and c.workers == workers for c in chosen)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("visibility", Visibility)
def test_shards_that_step_on_fixed_buffers(
    visibility: Visibility, form: str, ranks: RankPool
) -> None:
    """Under `same-step` peers are called in each layer, as between the graphs of a GPU."""
    check(Case(5, 2, "combined", visibility, greedy=False), ranks, attention="tables", form=form)
