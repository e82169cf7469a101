"""Divides the cache among sessions: each is promised what it may need, and takes no more.

All shards count promises and committed tokens alone, so that they decide alike.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hogwild_dist.kvcache.cache import PAGE_TOKENS, KVCache
from hogwild_dist.kvcache.prefix_cache import PrefixCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec, WorkerSpec

PARAGRAPH_TOKENS = 24
"""Chosen tokens of a paragraph, at the least, on average: for the prefixes that are to be expected.
A session that writes shorter ones may find its room full before its budget is spent."""


@dataclass(slots=True)
class _Reservation:
    """What one session may take.

    Attributes:
        pages: of its own blocks.
        beginnings: that it reads.
    """

    pages: int
    prefixes: list[tuple[int, ...]]


class KVReservations:
    """The reservations of all sessions that have been let in.

    Args:
        cache: that is divided.
        max_positions: of the model.
    """

    def __init__(self, cache: KVCache, max_positions: int) -> None:
        self.cache = cache
        self.max_positions = max_positions
        self._reservations: dict[Session, _Reservation] = {}
        self.prefix_cache = PrefixCache(cache)

    @property
    def num_spare(self) -> int:
        """Pages that are promised to nobody; those of idle beginnings are among them."""
        taken = self.prefix_cache.num_pages - self.prefix_cache.num_idle_pages
        return (
            self.cache.pages.num_pages - taken - sum(r.pages for r in self._reservations.values())
        )

    def reserve(self, session: Session) -> list[Row] | None:
        """Promise a new session its room.

        Returns:
            What is to be encoded, in order, or None where the session must wait.
        """
        prefixes = _shared_prefixes(session.spec)
        wanted = dict.fromkeys(prefixes.values())
        pages = {ids: self.cache.pages_of(len(ids)) for ids in wanted}
        most = self.cache.pages.num_pages - sum(pages.values())
        own = min(_most_pages(session, self.cache, self.max_positions), most)
        if (
            own + sum(pages[ids] for ids in wanted if not self.prefix_cache.is_read(ids))
            > self.num_spare
        ):
            return None
        self._claim(own + sum(pages[ids] for ids in wanted if ids not in self.prefix_cache), wanted)
        self._reservations[session] = _Reservation(own, list(wanted))
        return self._attach_prefixes(session, prefixes)

    def grow(self, session: Session, pages: int) -> None:
        """Promise a session so many pages more, or as many as there are to spare.

        Nothing happens where it has no room.
        """
        if session not in self._reservations:
            return
        more = max(0, min(pages, self.num_spare))
        self._claim(more)
        self._reservations[session].pages += more

    def ensure(self, session: Session, pages: int) -> bool:
        """Whether a session may take so many pages; a room that is too small is widened."""
        self.grow(session, pages - self._left(session))
        return pages <= self._left(session)

    def release(self, session: Session) -> None:
        """Take a room back; nothing happens where a session has none."""
        reservation = self._reservations.pop(session, None)
        for token_ids in reservation.prefixes if reservation else ():
            self.prefix_cache.give_back(token_ids)

    def has(self, session: Session) -> bool:
        """Whether a session has a room; one that was started on its own account has none."""
        return session in self._reservations

    def _left(self, session: Session) -> int:
        """Pages that a session may still take, by what all shards agree on."""
        if session in self._reservations:
            return self._reservations[session].pages - session.blocks.num_pages()
        used = sum(self.cache.pages_of(block.committed) for block in self.cache.blocks)
        return self.cache.pages.num_pages - used

    def _claim(self, pages: int, keep: Collection[tuple[int, ...]] = ()) -> None:
        """Let idle beginnings make way for a promise."""
        idle = self.prefix_cache.num_idle_pages
        self.prefix_cache.forget_idle(pages + idle - self.num_spare, keep)

    def _attach_prefixes(
        self, session: Session, prefixes: Mapping[str, tuple[int, ...]]
    ) -> list[Row]:
        """Give a session its beginnings; returns what is to be encoded."""
        rows = []
        for name, ids in prefixes.items():
            block, new = self.prefix_cache.borrow(ids)
            session.blocks.attach_prefix(name, block)
            if new:
                rows.append(Row((block,), ids))
        for name, ids in session.spec.shared.items():
            rest = ids[len(prefixes.get(name, ())) :]
            if rest:
                rows.append(Row(session.blocks.view((name,)), rest))
        return rows


def _shared_prefixes(spec: SessionSpec) -> dict[str, tuple[int, ...]]:
    """Block name -> what it begins with that others share; equal ones count once."""
    prefixes: dict[str, tuple[int, ...]] = {}
    for name, count in spec.shared_prefixes.items():
        ids = spec.shared[name][:count]
        if ids and ids not in prefixes.values():
            prefixes[name] = ids
    return prefixes


def pages_of_newcomer(session: Session, worker: WorkerSpec, cache: KVCache) -> int:
    """Pages that a worker who joins a session may come to need."""
    chosen = worker.max_tokens or 0
    starts = sum(_start_lengths(session)) * (chosen // PARAGRAPH_TOKENS + 1)
    return cache.pages_of(len(worker.first_input) + chosen + starts) + 3


def _most_pages(session: Session, cache: KVCache, max_positions: int) -> int:
    """Pages of its own that a session may come to need."""
    spec, prefixes = session.spec, _shared_prefixes(session.spec)
    texts = sum(len(ids) - len(prefixes.get(name, ())) for name, ids in spec.shared.items())
    texts += sum(len(worker.first_input) for worker in spec.workers)
    chosen = sum(worker.max_tokens or max_positions for worker in spec.workers)
    chosen = min(chosen, spec.max_total_tokens or chosen)
    prefix, question = _start_lengths(session)
    starts = prefix * (chosen // PARAGRAPH_TOKENS + len(spec.workers))
    if spec.redundancy is not None:
        starts += question * (chosen // spec.redundancy.every + len(spec.workers))
    blocks = len(spec.shared) + len(spec.workers) * (cache.pages_of(prefix + question) + 3)
    finishers = session.answer_collector.pages(PAGE_TOKENS)
    return cache.pages_of(texts + chosen + starts) + blocks + finishers


def _start_lengths(session: Session) -> tuple[int, int]:
    """Most tokens that begin a paragraph, and most that the redundancy question adds to them."""
    lengths = [session.start_lengths(worker) for worker in session.team]
    return max(prefix for prefix, _ in lengths), max(question for _, question in lengths)
