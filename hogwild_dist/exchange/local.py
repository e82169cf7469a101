"""The exchange of a single process, where every worker's K and V already lie in the one cache."""

from collections import deque
from collections.abc import Sequence

from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import AgreedStep, StepPlan, StepReport, combine_reports


class LocalExchange:
    """Nothing to carry: visibility alone decides what `batch.build_batch` lets a row see."""

    rank = 0
    world_size = 1

    def __init__(self, visibility: Visibility) -> None:
        self.visibility = visibility
        self._posted: deque[StepReport] = deque()

    def begin(self, plan: StepPlan) -> None:
        """Every slot is this process's own."""

    def send_layer(self, layer: int) -> None:
        """All new K and V of the step are written before anyone attends."""

    def receive_layer(self, layer: int) -> None:
        """They are there."""

    def post(self, report: StepReport) -> None:
        """Keep the only rank's part."""
        self._posted.append(report)

    def collect(self) -> AgreedStep:
        """The only rank's part is everybody's."""
        return combine_reports([self._posted.popleft()])

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """All is here."""
