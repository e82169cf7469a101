"""The exchange of a single process, where every worker's K and V already lie in the one cache."""

from collections.abc import Sequence

from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import RowReport


class LocalExchange:
    """Nothing to carry: visibility alone decides what `batch.build_batch` lets a row see."""

    def __init__(self, visibility: Visibility) -> None:
        self.visibility = visibility

    def exchange_layer(self, layer: int) -> None:
        """All new K and V of the step are written before anyone attends."""

    def commit(self, reports: Sequence[RowReport]) -> list[RowReport]:
        """The only shard's reports are everybody's."""
        return list(reports)
