"""The exchange of a single process, whose cache already has every worker's K and V."""

from collections import deque
from collections.abc import Sequence

from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import AgreedStep, StepPlan, StepReport, combine_reports


class LocalExchange:
    """An exchange without peers; visibility only decides what `build_batch` lets a row see."""

    rank = 0
    world_size = 1

    def __init__(self, visibility: Visibility) -> None:
        self.visibility = visibility
        self._posted: deque[StepReport] = deque()

    def begin(self, plan: StepPlan) -> None:
        """Do nothing: all slots belong to this process."""

    def send_layer(self, layer: int) -> None:
        """Do nothing: the new K and V are already in the cache."""

    def receive_layer(self, layer: int) -> None:
        """Do nothing: the new K and V are already in the cache."""

    def post(self, report: StepReport) -> None:
        """Keep the report of the only rank."""
        self._posted.append(report)

    def collect(self) -> AgreedStep:
        """Return the oldest report as the agreed step."""
        return combine_reports([self._posted.popleft()])

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Do nothing: all slots are in this cache."""
