"""Where sessions wait until there is room for them, and until their prompts are encoded."""

from collections import deque
from collections.abc import Iterator

from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.scheduler.fair_queue import FairQueue
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.session.changes import Change
from hogwild_dist.session.session import Session

FIRST_SHARE = 4
"""The session that entered first is sure of this part of what is encoded between two steps."""


class WaitingQueue:
    """Lets prepared sessions in, in turn; every shard of a group does so alike.

    The next session waits until it can be promised all that it may need; then its prompt is
    encoded piece by piece between the steps of those that are at work, together with the prompts
    of others that enter.

    Args:
        engine: that the sessions were prepared by.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: FairQueue[Session] = FairQueue()
        self._encoding: dict[Session, deque[Row]] = {}
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
        if session in self._encoding:
            del self._encoding[session]
        else:
            self._queue.remove(session)

    def admit_ready(self, budget: int) -> Iterator[tuple[Session, list[Change]]]:
        """Encode what the budget allows.

        Args:
            budget: most tokens to encode.

        Yields:
            The sessions that may step now, and what has been asked of them meanwhile.
        """
        while budget > 0:
            rows = self._next_rows(budget)
            if rows:
                budget -= self._engine.encode(rows)
            ready = [session for session, left in self._encoding.items() if not left]
            for session in ready:
                del self._encoding[session]
                yield session, self._changes.pop(session)
            if not rows and not ready:
                return

    def _next_rows(self, budget: int) -> list[tuple[Session, Row]]:
        """What can be encoded next in one forward: nothing in it reads what it writes."""
        found: list[tuple[Session, Row]] = []
        written: set[Block] = set()
        for session, share in self._shares(budget).items():
            rows, left = self._encoding[session], share
            while left > 0 and rows and written.isdisjoint(rows[0].view[:-1]):
                row = rows.popleft()
                ids, rest = row.token_ids[:left], row.token_ids[left:]
                if rest:
                    rows.appendleft(Row(row.view, rest))
                found.append((session, Row(row.view, ids)))
                written.add(row.view[-1])
                left -= len(ids)
        return found

    def _shares(self, budget: int) -> dict[Session, int]:
        """How many tokens of each session are encoded next.

        The shortest rests come first, so that nobody waits for a long prompt; a part of the budget
        is for who entered first, so that a long prompt gets on.
        """
        self._reserve_next()
        rests = {
            session: sum(len(row.token_ids) for row in rows)
            for session, rows in self._encoding.items()
        }
        shares = dict.fromkeys(rests, 0)
        first = list(rests)[:1]
        for session, most in (
            *((one, -(-budget // FIRST_SHARE)) for one in first),
            *((one, budget) for one in sorted(rests, key=lambda one: rests[one])),
        ):
            more = min(rests[session] - shares[session], most, budget)
            shares[session] += more
            budget -= more
        return shares

    def _reserve_next(self) -> None:
        """Let sessions enter while there is room for the next.

        Nobody follows one whose beginning is still to be encoded: it may be cancelled.
        """
        while len(self._queue) and self._engine.reservations.prefix_cache.are_encoded:
            rows = self._engine.reservations.reserve(self._queue.head)
            if rows is None:
                return
            self._encoding[self._queue.pop()] = deque(rows)
