"""`Publications`: what the shards publish, in order, once, and from the last membership alone."""

from collections.abc import Sequence

from hogwild_dist.engine.outbox import Publication
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.updates import Update


class Publications:
    """Orders publications, since Ray may reorder the calls of an async actor.

    Attributes:
        shown: number of the last publication that was released; the readers have it.
        completed: the rounds that had been completed then.
    """

    def __init__(self) -> None:
        self.shown = 0
        self.completed = Progress()
        self._epoch = 0
        self._pending: dict[int, Publication] = {}

    def put(self, publication: Publication) -> list[Sequence[Update]]:
        """Add a publication, and return the updates that it releases.

        Returns:
            The updates that are next in order; none while an earlier publication is missing, or if
            the publication was released before or comes from an older membership.
        """
        if publication.epoch < self._epoch or publication.number <= self.shown:
            return []
        self._pending[publication.number] = publication
        released = []
        while (following := self._pending.pop(self.shown + 1, None)) is not None:
            self.shown = following.number
            self.completed = following.completed
            released.append(following.updates)
        return released

    def begin(self, epoch: int) -> Progress:
        """Ignore older memberships from now on.

        Returns:
            The rounds that had been completed when the last publication was released.
        """
        self._epoch = epoch
        self._pending.clear()
        return self.completed
