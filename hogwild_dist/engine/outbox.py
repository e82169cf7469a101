"""`Outbox`: what a shard has to publish, kept so that another shard can publish it in its place."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.updates import Update

WINDOW = 256
"""Publications that are kept of earlier rounds; the publishing shard waits rather than have more on
their way."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Updates on their way to the readers.

    Attributes:
        epoch: number of the membership in which they are sent.
        number: number of the publication, from 1 on; the same on every shard.
        completed: the rounds that had been completed, which a reader of the updates has seen.
        updates: the updates, at least one.
    """

    epoch: int
    number: int
    completed: Progress
    updates: Sequence[Update]


class Outbox:
    """Numbers the publications of a shard. Every shard does; the shard of rank 0 sends them.

    Args:
        send: sends a publication; it may wait until earlier ones have arrived.
    """

    STATE = ("_number", "_recent")

    def __init__(self, send: Callable[[Publication], None]) -> None:
        self._send = send
        self._number = 0
        self._recent: deque[Publication] = deque()

    def put(
        self, epoch: int, completed: Progress, updates: Sequence[Update], *, publishes: bool
    ) -> None:
        """Number updates, and send them if this is the shard that publishes."""
        if not updates:
            return
        self._number += 1
        publication = Publication(epoch, self._number, completed, tuple(updates))
        self._recent.append(publication)
        while len(self._recent) > WINDOW and self._is_old(self._recent[0], completed):
            self._recent.popleft()
        if publishes:
            self._send(publication)

    def resume(self, epoch: int, shown: int) -> None:
        """Send what was not shown yet; this shard publishes from now on.

        Args:
            epoch: number of the membership.
            shown: number of the last publication that was shown.
        """
        missing = [one for one in self._recent if one.number > shown]
        assert not missing or missing[0].number == shown + 1, "what was not shown is kept"
        for one in missing:
            self._send(Publication(epoch, one.number, one.completed, one.updates))

    @staticmethod
    def _is_old(publication: Publication, completed: Progress) -> bool:
        """Return whether the publishing shard, which may be a round behind, has sent it."""
        return publication.completed.number < completed.number - 1
