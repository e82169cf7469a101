"""The sizes of fixed buffers: a step uses the smallest that holds it, and dummies fill the rest."""

from collections.abc import Iterable
from dataclasses import dataclass

from hogwild_dist.attention.tables.step_tables import TASK_FIELDS, StepTables

TOKENS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of tokens that buffers are made for."""

LEVELS = (1, 4, 16)
"""Multiples of the smallest tables that buffers are made for: long views need more tasks."""

TASKS = 64
"""Tasks of the smallest tables."""

ENTRIES_PER_TOKEN = 16
"""Entries of the smallest tables, for each token."""


@dataclass(frozen=True, slots=True)
class StepSize:
    """What the buffers of a step hold.

    Attributes:
        tokens: number of tokens; at most as many rows.
        level: multiple of the smallest tables.
    """

    tokens: int
    level: int

    @property
    def entries(self) -> int:
        """Number of entries of a table."""
        return self.tokens * ENTRIES_PER_TOKEN * self.level

    @property
    def tasks(self) -> int:
        """Number of tasks of a table, for local keys and for keys from peers each."""
        return TASKS * self.level

    @property
    def results(self) -> int:
        """Number of partial results of a table, and of parts of its tokens."""
        return self.tokens * TASKS * self.level

    def lengths(self) -> dict[str, int]:
        """Return the lengths of the tables' fields on the device."""
        return {
            **dict.fromkeys(("tokens", "distances", "lows", "highs"), self.entries),
            **dict.fromkeys(("local_tasks", "peer_tasks"), self.tasks * TASK_FIELDS),
            "parts": self.results,
            "part_starts": self.tokens + 1,
        }

    def holds(self, tables: StepTables) -> bool:
        """Return whether tables fit into the buffers."""
        fits = all(len(getattr(tables, name)) <= size for name, size in self.lengths().items())
        return fits and tables.num_results <= self.results


def smallest_size(num_tokens: int, tables: Iterable[StepTables]) -> StepSize | None:
    """Return the smallest size that holds a step, or None if none does.

    Args:
        num_tokens: number of tokens of the step.
        tables: the tables of all kinds of layers.
    """
    tokens = next((size for size in TOKENS if num_tokens <= size), None)
    if tokens is None:
        return None
    known = list(tables)
    sizes = (StepSize(tokens, level) for level in LEVELS)
    return next((size for size in sizes if all(map(size.holds, known))), None)
