"""`DriverLink`: how a shard tells its driver what happens."""

from collections import deque
from typing import Any

import ray

from hogwild_dist.engine.outbox import WINDOW, Publication
from hogwild_dist.errors import PeersLostError

MOST_UNANSWERED = WINDOW // 2
"""Publications that may be on their way; another shard keeps more, and can send them again."""


class DriverLink:
    """Calls the driver from a shard's loop, without waiting for it as a rule.

    Args:
        driver: handle of the driver.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._unanswered: deque[Any] = deque()

    def publish(self, publication: Publication) -> None:
        """Send updates; wait while too many earlier ones have not arrived."""
        self._unanswered.append(self._driver.publish.remote(publication))
        while len(self._unanswered) > MOST_UNANSWERED:
            ray.get(self._unanswered.popleft())

    def lose_peers(self, epoch: int, error: PeersLostError) -> None:
        """Say that this shard has lost its peers."""
        self._driver.lose_peers.remote(epoch, str(error))
