"""Sessions that wait for cache pages, or for their prompts to be encoded."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from hogwild_dist.engine.scheduler.fair_queue import FairQueue
from hogwild_dist.engine.scheduler.reservations import KVReservations
from hogwild_dist.kvcache.cache import Block
from hogwild_dist.kvcache.page_allocator import ceil_div
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.session.changes import Change
from hogwild_dist.session.session import Session

FIRST_SHARE = 4
"""The oldest session is sure of one part in so many of the tokens encoded between two steps."""

MOST_PASSES = 8
"""So many sessions may start before one whose turn it is and that does not fit yet."""


class WaitingQueue:
    """Admits prepared sessions in turn; every shard of a group admits the same ones.

    A session waits until all the cache pages that it may need can be reserved. While the next one
    does not fit, sessions of other tenants may pass it, but only a limited number; then all wait
    until enough running sessions have ended for it. The prompt of an admitted session is encoded
    piece by piece between the steps of the running sessions, together with the prompts of others.

    Args:
        reservations: the cache pages that sessions may use.
        encode: encodes texts of sessions in one forward pass and returns the number of tokens.
    """

    STATE = ("_queue", "_passes", "_encoding", "_changes")

    def __init__(
        self,
        reservations: KVReservations,
        encode: Callable[[Sequence[tuple[Session, Row]]], int],
    ) -> None:
        self._reservations = reservations
        self._encode = encode
        self._queue: FairQueue[Session] = FairQueue()
        self._passes: dict[Session, int] = {}
        """Session that does not fit yet -> number of sessions that have passed it."""
        self._encoding: dict[Session, deque[Row]] = {}
        self._changes: dict[Session, list[Change]] = {}

    def __iter__(self) -> Iterator[Session]:
        """Iterate over all sessions that have not started to step."""
        return iter(list(self._changes))

    def put(self, session: Session, tenant: str) -> None:
        """Append a session to the queue.

        Args:
            session: a prepared session.
            tenant: the client that the session belongs to; tenants take turns.
        """
        self._queue.put(tenant, session)
        self._changes[session] = []

    def find(self, number: int) -> Session | None:
        """Return the waiting session of this number, or None."""
        return next((session for session in self if session.id == number), None)

    def defer(self, session: Session, change: Change) -> None:
        """Keep a change for a session until the session starts to step."""
        self._changes[session].append(change)

    def remove(self, session: Session) -> None:
        """Remove a session that is not to start any more; the caller retires it."""
        del self._changes[session]
        if session in self._encoding:
            del self._encoding[session]
        else:
            self._queue.remove(session)
            self._passes.pop(session, None)

    def admit_ready(self, budget: int) -> Iterator[tuple[Session, list[Change]]]:
        """Reserve pages and encode prompts, as far as the budget allows.

        Args:
            budget: the most tokens to encode.

        Yields:
            Each session that may step now, and the changes that were requested meanwhile.
        """
        while budget > 0:
            rows = self._next_rows(budget)
            if rows:
                budget -= self._encode(rows)
            ready = [session for session, left in self._encoding.items() if not left]
            for session in ready:
                del self._encoding[session]
                yield session, self._changes.pop(session)
            if not rows and not ready:
                return

    def _next_rows(self, budget: int) -> list[tuple[Session, Row]]:
        """Return the texts of the next forward pass; none of them sees another."""
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
        """Return how many tokens of each session are encoded next.

        The shortest remainders come first, so that no session waits for another one's long prompt.
        A share of the budget belongs to the oldest session, so that a long prompt makes progress.
        """
        self._reserve_next()
        rests = {
            session: sum(len(row.token_ids) for row in rows)
            for session, rows in self._encoding.items()
        }
        shares = dict.fromkeys(rests, 0)
        first = list(rests)[:1]
        for session, most in (
            *((one, ceil_div(budget, FIRST_SHARE)) for one in first),
            *((one, budget) for one in sorted(rests, key=lambda one: rests[one])),
        ):
            more = min(rests[session] - shares[session], most, budget)
            shares[session] += more
            budget -= more
        return shares

    def _reserve_next(self) -> None:
        """Reserve pages for sessions in turn, as long as there are enough for one that may start.

        No session follows one whose shared prefix is not encoded yet: that one may be cancelled.
        """
        while self._reservations.prefix_cache.are_encoded and self._reserve_one():
            pass

    def _reserve_one(self) -> bool:
        """Reserve pages for the first session in turn that fits; return whether there is one.

        It passes those before it, unless one of them has been passed `MOST_PASSES` times.
        """
        passed: list[Session] = []
        for session in self._queue.heads:
            rows = self._reservations.reserve(session)
            if rows is not None:
                self._queue.serve(session)
                self._passes.pop(session, None)
                for one in passed:
                    self._passes[one] = self._passes.get(one, 0) + 1
                self._encoding[session] = deque(rows)
                return True
            passed.append(session)
            if self._passes.get(session, 0) >= MOST_PASSES or len(passed) > MOST_PASSES:
                break
        return False
