"""Whatever happens between two steps, a step gets the plan that it would get without foresight."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.tables.device_tables import build
from hogwild_dist.attention.tables.kernel import LayerKind
from hogwild_dist.attention.tables.torch_kernel import TorchKernel
from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots
from hogwild_dist.model.graphs.planner import StepPlanner, Tables
from tests.attention.random_team import Shape
from tests.kvcache.integrity import check_integrity

KIND = LayerKind(window=40, num_kv_heads=2, num_groups=2, head_dim=32)


class Counting:
    """Builds tables and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, batch: Batch) -> Tables:
        self.count += 1
        return {KIND: build(batch, KIND, TorchKernel())}


class World:
    """Two workers of this process, one of a peer, and a common text."""

    def __init__(self, visibility: Visibility) -> None:
        self.visibility = visibility
        self.cache: KVCache = Shape().new_cache(torch.float32)
        self.common, *self.own = (self.cache.new_block(name) for name in "cabp")
        self.extend(self.common, 70)
        self.building = Counting()
        self.planner = StepPlanner(self.cache, visibility, self.building)
        self.lag: list[list[Row]] = []

    def extend(self, block: Block, count: int) -> None:
        self.cache.extend(block, [1] * count)
        self.cache.commit(block, count)

    def rows(self, counts: tuple[int, ...]) -> list[Row]:
        return [
            Row((self.common, *(o for o in self.own if o is not block), block), (7,) * count)
            for block, count in zip(self.own, counts, strict=True)
            if count
        ]

    def step(self, counts: tuple[int, ...]) -> bool:
        """Feed tokens, and return whether the plan was known before."""
        rows = self.rows(counts)
        mine = [row for row in rows if row.view[-1] is not self.own[-1]]
        arriving = [row for row in rows if row.view[-1] is self.own[-1]]
        slots = allocate_slots(self.cache, rows)[: len(mine)] if mine else []
        if not mine:
            return False
        before = self.building.count
        planned = self.planner.plan(mine, slots, arriving)
        known = self.building.count == before
        fresh = StepPlanner(self.cache, self.visibility, Counting())
        assert planned == fresh.plan(mine, slots, arriving)
        assert planned.batch.token_ids == tuple(t for row in mine for t in row.token_ids)
        self.planner.expect(mine, arriving)
        check_integrity(self.cache)
        self.lag.append(rows)
        if len(self.lag) > (self.visibility is Visibility.OVERLAPPED):
            for row in self.lag.pop(0):
                self.cache.commit(row.view[-1], len(row.token_ids))
        return known


CHANGES = ("nothing", "nothing", "nothing", "move", "cut", "message", "newcomer")


@settings(max_examples=60)
@given(
    visibility=st.sampled_from(Visibility),
    steps=st.lists(
        st.tuples(
            st.sampled_from(CHANGES),
            st.sampled_from([(1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 0, 1), (2, 1, 1), (1, 1, 0)]),
        ),
        min_size=2,
        max_size=70,
    ),
)
def test_plans_are_those_of_a_planner_without_foresight(
    visibility: Visibility, steps: list[tuple[str, tuple[int, ...]]]
) -> None:
    world = World(visibility)
    for change, counts in steps:
        first = world.own[0]
        if change == "move" and first.committed == first.length:
            world.cache.append_from(world.common, first)
        elif change == "cut" and first.committed == first.length > 1 and not world.lag:
            world.cache.truncate(first, first.length - 1)
            world.extend(first, 1)
        elif change == "message":
            world.extend(world.common, 3)
        elif change == "newcomer":
            world.own[0], world.own[1] = world.own[1], world.own[0]
        world.step(counts)


def test_a_step_that_only_continues_is_known_before() -> None:
    for visibility in Visibility:
        world = World(visibility)
        known = [world.step((1, 1, 1)) for _ in range(150)]
        assert known[2:] == [True] * 148, "page boundaries included"


def test_a_full_cache_plans_nothing_ahead() -> None:
    world = World(Visibility.SAME_STEP)
    world.step((1, 1, 1))
    filler = world.cache.new_block("filler")
    world.extend(filler, world.cache.pages.num_free * 64)
    known = [world.step((1, 1, 1)) for _ in range(63)]
    assert known == [True] * 63
