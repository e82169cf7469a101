"""The seam between a step's computation and the other shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hogwild_dist.config import Visibility


@dataclass(frozen=True, slots=True)
class RowReport:
    """What became of one row: all that a peer needs to stay in step.

    Attributes:
        session: id of the session.
        worker: index of the worker in its session.
        token_id: the token chosen, or None where the row has more text to feed first.
    """

    session: int
    worker: int
    token_id: int | None


class Exchange(Protocol):
    """Brings new K and V, and the outcome of a step, to every shard.

    `visibility` is fixed when the exchange starts.
    """

    visibility: Visibility

    def exchange_layer(self, layer: int) -> None:
        """Under `same-step`: return once the peers' new K and V of `layer` are in the cache."""

    def commit(self, reports: Sequence[RowReport]) -> list[RowReport]:
        """Agree on the outcome of a step: all rows of all shards, in one order everywhere."""
