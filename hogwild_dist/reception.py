"""Where sessions wait until there is room for them, and until their prompts are encoded."""

from collections import deque
from collections.abc import Iterator

from hogwild_dist.changes import Change
from hogwild_dist.engine import Engine
from hogwild_dist.fair_queue import FairQueue
from hogwild_dist.prefill import Part
from hogwild_dist.session import Session


class Reception:
    """Lets prepared sessions in, one after the other; every shard of a group does so alike.

    The next session waits until it can be promised all that it may need; then its prompt is
    encoded piece by piece between the steps of those that are at work.

    Args:
        engine: that the sessions were prepared by.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: FairQueue[Session] = FairQueue()
        self._entering: Session | None = None
        self._parts: deque[Part] = deque()
        self._changes: dict[Session, list[Change]] = {}

    def __iter__(self) -> Iterator[Session]:
        """All that have not begun."""
        return iter(list(self._changes))

    def put(self, session: Session, tenant: str) -> None:
        """Let a session wait.

        Args:
            session: that was prepared.
            tenant: for whom; tenants take turns.
        """
        self._queue.put(tenant, session)
        self._changes[session] = []

    def find(self, number: int) -> Session | None:
        """The session of this number, where it has not begun."""
        return next((session for session in self if session.id == number), None)

    def defer(self, session: Session, change: Change) -> None:
        """Keep a change for a session until it begins."""
        self._changes[session].append(change)

    def remove(self, session: Session) -> None:
        """Take out a session that is to begin no more; the caller retires it."""
        del self._changes[session]
        if session is self._entering:
            self._entering = None
            self._parts.clear()
        else:
            self._queue.remove(session)

    def let_in(self, budget: int) -> Iterator[tuple[Session, list[Change]]]:
        """Encode what the budget allows.

        Args:
            budget: most tokens to encode.

        Yields:
            The sessions that may step now, and what has been asked of them meanwhile.
        """
        while budget > 0 and self._next():
            assert self._entering is not None
            budget -= self._engine.encode(self._entering, self._parts, budget)
            if not self._parts:
                session, self._entering = self._entering, None
                yield session, self._changes.pop(session)

    def _next(self) -> bool:
        """Let the next session enter, if none does and there is room."""
        if self._entering is None and len(self._queue):
            parts = self._engine.rooms.enter(self._queue.head)
            if parts is not None:
                self._entering, self._parts = self._queue.pop(), deque(parts)
        return self._entering is not None
