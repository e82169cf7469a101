"""`StepPlanner`: the batch and the tables of a step, mostly planned while the step before computes.

In most steps every worker feeds the one token that was just chosen, and nothing else changes. So
while a device computes a step, the host plans this continuation. The plan is used if the next step
is the one that was expected, and dropped otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.tables.kernel import LayerKind
from hogwild_dist.attention.tables.step_tables import StepTables
from hogwild_dist.config import Visibility
from hogwild_dist.errors import ContextLimitError
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots, release_slots

Tables = dict[LayerKind, StepTables]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that is ready to run.

    Attributes:
        batch: the packed tokens.
        tables: its tables, for each kind of layer.
    """

    batch: Batch
    tables: Tables


class StepPlanner:
    """Plans the steps of one cache.

    Args:
        cache: holds the blocks.
        visibility: when rows see the others' new tokens.
        build: builds the tables of a batch.
    """

    def __init__(
        self, cache: KVCache, visibility: Visibility, build: Callable[[Batch], Tables]
    ) -> None:
        self._cache = cache
        self._visibility = visibility
        self._build = build
        self._expected: tuple[Any, PlannedStep] | None = None

    def plan(
        self, rows: Sequence[Row], slots: Sequence[Sequence[int]], arriving: Sequence[Row]
    ) -> PlannedStep:
        """Return the plan of a step whose slots are allocated.

        Args:
            rows: the rows that this process computes.
            slots: cache slots of each row's new tokens.
            arriving: the rows that peers compute in the same step.
        """
        expected, self._expected = self._expected, None
        if expected is not None and expected[0] == self._state(rows, arriving):
            token_ids = tuple(token for row in rows for token in row.token_ids)
            planned = expected[1]
            return replace(planned, batch=replace(planned.batch, token_ids=token_ids))
        batch = build_batch(rows, slots, self._visibility, arriving)
        return PlannedStep(batch, self._build(batch))

    def expect(self, rows: Sequence[Row], arriving: Sequence[Row]) -> None:
        """Plan the step in which each row of the step that computes now feeds one token.

        Args:
            rows: the rows that this process computes now.
            arriving: the rows that peers compute now.
        """
        following = [Row(row.view, (0,)) for row in rows]
        arriving = [Row(row.view, (0,)) for row in arriving]
        with self._ahead([*following, *arriving]) as slots:
            if slots is None:
                self._expected = None
                return
            own = slots[: len(following)]
            batch = build_batch(following, own, self._visibility, arriving)
            state = self._state(following, arriving)
            self._expected = state, PlannedStep(batch, self._build(batch))

    @contextmanager
    def _ahead(self, rows: Sequence[Row]) -> Iterator[list[list[int]] | None]:
        """Let the cache be, for a moment, as it will be when these rows are fed.

        By then every shard has one more token of each of their blocks. Yields the rows' slots, or
        None if the cache is full.
        """
        try:
            slots = allocate_slots(self._cache, rows)
        except ContextLimitError:
            yield None
            return
        committed = [row.view[-1].committed for row in rows]
        try:
            for row in rows:
                row.view[-1].committed += 1
            yield slots
        finally:
            for row, count in zip(rows, committed, strict=True):
                row.view[-1].committed = count
            release_slots(self._cache, rows)

    def _state(self, rows: Sequence[Row], arriving: Sequence[Row]) -> Any:
        """Return all that a plan depends on but the tokens: views, slots, and what is visible."""
        views = tuple((row.view, len(row.token_ids)) for row in (*rows, *arriving))
        blocks = dict.fromkeys(block for view, _ in views for block in view)
        return len(rows), views, tuple(map(_place, blocks))


def _place(block: Block) -> tuple[int, ...]:
    """Return where a block lies, and how much of it every shard has."""
    extents = (number for one in block.extents for number in (one.start, one.length))
    return block.committed, *extents
