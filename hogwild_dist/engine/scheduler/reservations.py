"""Reservations of KV cache pages: a session reserves all the pages that it may need.

Decisions depend only on reservations and committed tokens, which are the same on every shard.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hogwild_dist.kvcache.cache import PAGE_TOKENS, KVCache
from hogwild_dist.kvcache.prefix_cache import PrefixCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec, WorkerSpec

PARAGRAPH_TOKENS = 24
"""Assumed least average length of a paragraph, in chosen tokens; it bounds how many paragraph
prefixes are expected. A session with shorter paragraphs may use up its reservation before its
token budget."""


@dataclass(slots=True)
class _Reservation:
    """The reservation of one session.

    Attributes:
        pages: number of pages for the session's own blocks.
        prefixes: shared prefixes that the session reads.
    """

    pages: int
    prefixes: list[tuple[int, ...]]


class KVReservations:
    """KV cache pages reserved for the admitted sessions.

    Args:
        cache: the cache whose pages are reserved.
        max_positions: context length of the model, in tokens.
    """

    STATE = ("_reservations",)

    def __init__(self, cache: KVCache, max_positions: int) -> None:
        self.cache = cache
        self.max_positions = max_positions
        self._reservations: dict[Session, _Reservation] = {}
        self.prefix_cache = PrefixCache(cache)

    @property
    def num_spare(self) -> int:
        """Number of pages that are not reserved; pages of idle shared prefixes count among them."""
        taken = self.prefix_cache.num_pages - self.prefix_cache.num_idle_pages
        return (
            self.cache.pages.num_pages - taken - sum(r.pages for r in self._reservations.values())
        )

    def reserve(self, session: Session) -> list[Row] | None:
        """Reserve the pages that a new session may need, and attach its shared prefixes.

        Returns:
            The texts to encode, in order, or None if the session has to wait.
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
        """Reserve more pages for a session, as many of `pages` as are not reserved.

        A session without a reservation is left alone.
        """
        if session not in self._reservations:
            return
        more = max(0, min(pages, self.num_spare))
        self._claim(more)
        self._reservations[session].pages += more

    def ensure(self, session: Session, pages: int) -> bool:
        """Return whether a session may take `pages` pages; grow its reservation if needed."""
        self.grow(session, pages - self._left(session))
        return pages <= self._left(session)

    def release(self, session: Session) -> None:
        """Release the reservation of a session, if it has one."""
        reservation = self._reservations.pop(session, None)
        for token_ids in reservation.prefixes if reservation else ():
            self.prefix_cache.give_back(token_ids)

    def has(self, session: Session) -> bool:
        """Return whether a session has a reservation; one started by `Engine.start` has none."""
        return session in self._reservations

    def _left(self, session: Session) -> int:
        """Return how many pages a session may still take; the same number on every shard."""
        if session in self._reservations:
            return self._reservations[session].pages - session.blocks.num_pages()
        used = sum(self.cache.pages_of(block.committed) for block in self.cache.blocks)
        return self.cache.pages.num_pages - used

    def _claim(self, pages: int, keep: Collection[tuple[int, ...]] = ()) -> None:
        """Drop idle shared prefixes to make `pages` pages available, except those in `keep`."""
        idle = self.prefix_cache.num_idle_pages
        self.prefix_cache.forget_idle(pages + idle - self.num_spare, keep)

    def _attach_prefixes(
        self, session: Session, prefixes: Mapping[str, tuple[int, ...]]
    ) -> list[Row]:
        """Attach shared prefixes to a session; return the texts to encode."""
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
    """Return block name -> the shared prefix of its text; equal prefixes appear once."""
    prefixes: dict[str, tuple[int, ...]] = {}
    for name, count in spec.shared_prefixes.items():
        ids = spec.shared[name][:count]
        if ids and ids not in prefixes.values():
            prefixes[name] = ids
    return prefixes


def pages_of_newcomer(session: Session, worker: WorkerSpec, cache: KVCache) -> int:
    """Return the most pages that a worker who joins a session may need."""
    chosen = worker.max_tokens or 0
    starts = sum(_start_lengths(session)) * (chosen // PARAGRAPH_TOKENS + 1)
    return cache.pages_of(len(worker.first_input) + chosen + starts) + 3


def _most_pages(session: Session, cache: KVCache, max_positions: int) -> int:
    """Return the most pages that a session may need for blocks of its own."""
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
    """Return the longest paragraph prefix and the longest redundancy question, in tokens."""
    lengths = [session.start_lengths(worker) for worker in session.team]
    return max(prefix for prefix, _ in lengths), max(question for _, question in lengths)
