"""Divides the cache among sessions: each is promised what it may need, and takes no more.

All shards count promises and committed tokens alone, so that they decide alike.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hogwild_dist.engine.prefill import Part
from hogwild_dist.kvcache.cache import PAGE_TOKENS, KVCache
from hogwild_dist.kvcache.prefix_cache import Beginnings
from hogwild_dist.session.session import Session
from hogwild_dist.session.spec import SessionSpec, WorkerSpec

PARAGRAPH_TOKENS = 24
"""Chosen tokens of a paragraph, at the least, on average: for the prefixes that are to be expected.
A session that writes shorter ones may find its room full before its budget is spent."""


@dataclass(slots=True)
class _Room:
    """What one session may take.

    Attributes:
        pages: of its own blocks.
        beginnings: that it reads.
    """

    pages: int
    beginnings: list[tuple[int, ...]]


class Rooms:
    """The rooms of all sessions that have been let in.

    Args:
        cache: that is divided.
        max_positions: of the model.
    """

    def __init__(self, cache: KVCache, max_positions: int) -> None:
        self.cache = cache
        self.max_positions = max_positions
        self._rooms: dict[Session, _Room] = {}
        self.beginnings = Beginnings(cache)

    @property
    def num_spare(self) -> int:
        """Pages that are promised to nobody; those of idle beginnings are among them."""
        taken = self.beginnings.num_pages - self.beginnings.num_idle_pages
        return self.cache.pages.num_pages - taken - sum(r.pages for r in self._rooms.values())

    def enter(self, session: Session) -> list[Part] | None:
        """Promise a new session its room.

        Returns:
            What is to be encoded, in order, or None where the session must wait.
        """
        leads = _leads(session.spec)
        wanted = dict.fromkeys(leads.values())
        pages = {ids: self.cache.pages_of(len(ids)) for ids in wanted}
        most = self.cache.pages.num_pages - sum(pages.values())
        own = min(_most_pages(session, self.cache, self.max_positions), most)
        if (
            own + sum(pages[ids] for ids in wanted if not self.beginnings.is_read(ids))
            > self.num_spare
        ):
            return None
        self._claim(own + sum(pages[ids] for ids in wanted if ids not in self.beginnings), wanted)
        self._rooms[session] = _Room(own, list(wanted))
        return self._furnish(session, leads)

    def widen(self, session: Session, pages: int) -> None:
        """Promise a session so many pages more, or as many as there are to spare.

        Nothing happens where it has no room.
        """
        if session not in self._rooms:
            return
        more = max(0, min(pages, self.num_spare))
        self._claim(more)
        self._rooms[session].pages += more

    def reach(self, session: Session, pages: int) -> bool:
        """Whether a session may take so many pages; a room that is too small is widened."""
        self.widen(session, pages - self._left(session))
        return pages <= self._left(session)

    def leave(self, session: Session) -> None:
        """Take a room back; nothing happens where a session has none."""
        room = self._rooms.pop(session, None)
        for token_ids in room.beginnings if room else ():
            self.beginnings.give_back(token_ids)

    def has(self, session: Session) -> bool:
        """Whether a session has a room; one that was started on its own account has none."""
        return session in self._rooms

    def _left(self, session: Session) -> int:
        """Pages that a session may still take, by what all shards agree on."""
        if session in self._rooms:
            return self._rooms[session].pages - session.blocks.num_pages()
        used = sum(self.cache.pages_of(block.committed) for block in self.cache.blocks)
        return self.cache.pages.num_pages - used

    def _claim(self, pages: int, keep: Collection[tuple[int, ...]] = ()) -> None:
        """Let idle beginnings make way for a promise."""
        idle = self.beginnings.num_idle_pages
        self.beginnings.forget_idle(pages + idle - self.num_spare, keep)

    def _furnish(self, session: Session, leads: Mapping[str, tuple[int, ...]]) -> list[Part]:
        """Give a session its beginnings; returns what is to be encoded."""
        parts = []
        for name, ids in leads.items():
            block, new = self.beginnings.borrow(ids)
            session.blocks.lead(name, block)
            if new:
                parts.append(Part((block,), ids))
        for name, ids in session.spec.shared.items():
            rest = ids[len(leads.get(name, ())) :]
            if rest:
                parts.append(Part(session.blocks.view((name,)), rest))
        return parts


def _leads(spec: SessionSpec) -> dict[str, tuple[int, ...]]:
    """Block name -> what it begins with that others share; equal ones count once."""
    leads: dict[str, tuple[int, ...]] = {}
    for name, count in spec.beginnings.items():
        ids = spec.shared[name][:count]
        if ids and ids not in leads.values():
            leads[name] = ids
    return leads


def pages_of_newcomer(session: Session, worker: WorkerSpec, cache: KVCache) -> int:
    """Pages that a worker who joins a session may come to need."""
    chosen = worker.max_tokens or 0
    starts = sum(_start_lengths(session)) * (chosen // PARAGRAPH_TOKENS + 1)
    return cache.pages_of(len(worker.first_input) + chosen + starts) + 3


def _most_pages(session: Session, cache: KVCache, max_positions: int) -> int:
    """Pages of its own that a session may come to need."""
    spec, leads = session.spec, _leads(session.spec)
    texts = sum(len(ids) - len(leads.get(name, ())) for name, ids in spec.shared.items())
    texts += sum(len(worker.first_input) for worker in spec.workers)
    chosen = sum(worker.max_tokens or max_positions for worker in spec.workers)
    chosen = min(chosen, spec.max_total_tokens or chosen)
    prefix, question = _start_lengths(session)
    starts = prefix * (chosen // PARAGRAPH_TOKENS + len(spec.workers))
    if spec.redundancy is not None:
        starts += question * (chosen // spec.redundancy.every + len(spec.workers))
    blocks = len(spec.shared) + len(spec.workers) * (cache.pages_of(prefix + question) + 3)
    finishers = session.finishing.pages(PAGE_TOKENS)
    return cache.pages_of(texts + chosen + starts) + blocks + finishers


def _start_lengths(session: Session) -> tuple[int, int]:
    """Most tokens that begin a paragraph, and most that the redundancy question adds to them."""
    lengths = [session.start_lengths(worker) for worker in session.team]
    return max(prefix for prefix, _ in lengths), max(question for _, question in lengths)
