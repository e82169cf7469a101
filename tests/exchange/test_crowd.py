"""Sessions that wait for room on several shards: all let the same in, and none is disturbed."""

import pytest

from hogwild_dist.config import Visibility
from hogwild_dist.session.events import Event, SessionEnd
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits, Team
from tests.exchange import grid
from tests.exchange.grid import Played
from tests.rank_pool import RankPool
from tests.tiny_team import BREAKS, LONG
from tests.tiny_tokenizer import byte_tokenizer

pytestmark = pytest.mark.slow

CACHE_TOKENS = 64 * 48


def spec(number: int) -> SessionSpec:
    layout = ("combined", "contiguous", "interleaved", "independent")[number % 4]
    team = Team(
        names=("Ann", "Ben", "Cat")[: 2 + number % 2],
        layout=LAYOUTS[layout],
        prompts=LONG,
        sampling=BREAKS,
        limits=Limits(max_tokens=8 + number),
        seed=number,
    )
    return team.spec(f"Problem {number}!", byte_tokenizer())


def events(played: Played, session: int) -> list[Event]:
    return [event for u in played.updates if u.session == session for event in u.events]


@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("shards", [2, 3])
def test_every_session_writes_what_it_writes_alone(
    visibility: Visibility, shards: int, ranks: RankPool
) -> None:
    specs = [spec(number) for number in range(7)]
    played = ranks.run(grid.on_a_rank, shards, specs, visibility, CACHE_TOKENS)
    for one in played:
        assert [u.events for u in one.updates] == [u.events for u in played[0].updates]
        assert one.checksums == played[0].checksums
        assert one.free_pages == CACHE_TOKENS // 64
    ends = [
        u.session for u in played[0].updates if any(isinstance(e, SessionEnd) for e in u.events)
    ]
    order = [update.session for update in played[0].updates]
    assert order.index(7) > len(order) - 1 - order[::-1].index(ends[0])  # the last one waited
    for number, one_spec in enumerate(specs, start=1):
        assert events(played[0], number) == events(grid.alone(one_spec, visibility), 1)
