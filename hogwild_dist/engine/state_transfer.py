"""State transfer: what a shard that joins takes over from one that has all of it.

Keys and values are copied page by page while the group goes on; what has changed meanwhile is
copied again when all shards wait between two steps, together with everything else that the next
rounds depend on: sessions, waiting queue, reservations, publications, commands.
"""

import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from hogwild_dist.engine.commands import Inbox
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.outbox import Outbox
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.errors import ConfigError
from hogwild_dist.kvcache.cache import PAGE_TOKENS
from hogwild_dist.model.text_encoder import TextEncoder

CHUNK_BYTES = 1 << 25
"""About so many bytes of keys and values are copied at a time, so that steps are hardly delayed."""

Pages = tuple[int, int]
"""A range of pages ``(start, stop)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedState:
    """The state of a shard between two steps, but keys and values.

    Attributes:
        state: what the next rounds depend on.
        changed: pages that have changed since the copy was begun, in ranges to be copied in turn.
    """

    state: bytes
    changed: Sequence[Pages]


class StateTransfer:
    """Saves and loads the state of a shard.

    Args:
        engine: the engine of the shard.
        loop: its loop.
        inbox: its commands.
        outbox: what it has published.
    """

    def __init__(self, engine: Engine, loop: ShardLoop, inbox: Inbox, outbox: Outbox) -> None:
        self._engine = engine
        self._cache = engine.cache
        self._loop = loop
        self._inbox = inbox
        self._outbox = outbox

    def begin(self) -> list[Pages]:
        """Begin a copy of this shard; return its pages, in ranges to be copied in turn."""
        self._cache.changed = set()
        return list(self._chunks(self._cache.pages.taken))

    def read_pages(self, pages: Pages) -> np.ndarray:
        """Return keys and values of some pages, as bytes; steps may go on meanwhile."""
        return self._cache.read_pages(*pages).numpy()

    def write_pages(self, pages: Pages, data: np.ndarray) -> None:
        """Store keys and values of some pages; this shard is not in the group yet."""
        self._cache.write_pages(*pages, torch.from_numpy(data.copy()))  # it may be read-only

    def save(self) -> SavedState:
        """Return the state of this shard, which waits between two steps.

        Raises:
            ConfigError: the shard does not wait, or no copy was begun.
        """
        changed, self._cache.changed = self._cache.changed, None
        if not self._engine.rounds.paused or changed is None:
            raise ConfigError("The state of a shard can be copied only while it waits for that.")
        parts = [{name: getattr(part, name) for name in part.STATE} for part in self._parts]
        out = io.BytesIO()
        _Pickler(out, self._fixed).dump((parts, self._inbox.held()))
        taken = [page for run in self._cache.pages.taken for page in range(*run)]
        return SavedState(
            state=out.getvalue(), changed=list(self._chunks(_runs(changed.intersection(taken))))
        )

    def load(self, state: bytes) -> None:
        """Take over the state of another shard with the same model and settings."""
        parts, commands = _Unpickler(io.BytesIO(state), self._fixed).load()
        for part, found in zip(self._parts, parts, strict=True):
            vars(part).update(found)
        self._engine.adopt((*self._loop.sessions.values(), *self._loop.waiting_queue))
        self._inbox.skip(self._loop.applied)
        for number, command in commands.items():
            self._inbox.put(number, command)

    @property
    def _parts(self) -> list[Any]:
        """What has a state that changes from round to round."""
        engine, reservations = self._engine, self._engine.reservations
        return [
            self._loop,
            self._loop.waiting_queue,
            self._outbox,
            engine,
            engine.rounds,
            engine.prefill,
            engine.stepper,
            reservations,
            reservations.prefix_cache,
            self._cache,
            self._cache.pages,
        ]

    @property
    def _fixed(self) -> dict[str, Any]:
        """What the state refers to, and every shard has its own of."""
        return {
            "cache": self._cache,
            "encoder": self._engine.encoder,
            "tokenizer": self._engine.tokenizer.backend_tokenizer,
        }

    def _chunks(self, runs: Iterable[Pages]) -> Iterator[Pages]:
        """Divide ranges of pages into ones that are copied at a time."""
        most = max(1, CHUNK_BYTES // (self._cache.token_bytes * PAGE_TOKENS))
        for start, stop in runs:
            edges = [*range(start, stop, most), stop]
            yield from pairwise(edges)


class _Pickler(pickle.Pickler):
    """Writes references in place of what every shard has its own of."""

    def __init__(self, file: io.BytesIO, fixed: dict[str, Any]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._names = {id(one): name for name, one in fixed.items()}

    def reducer_override(self, one: object) -> Any:
        """Write an object as a reference, if it is one that every shard has its own of."""
        name = "encoder" if isinstance(one, TextEncoder) else self._names.get(id(one))
        return NotImplemented if name is None else (_own, (name,))


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` wrote on another shard; it comes from a shard of the same group."""

    def __init__(self, file: io.BytesIO, fixed: dict[str, Any]) -> None:
        super().__init__(file)
        self._fixed = fixed

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for; references stand for what this shard has."""
        if (module, name) == (__name__, _own.__name__):
            return self._fixed.__getitem__
        return super().find_class(module, name)


def _own(name: str) -> Any:
    """Stand for the shard's own object of a name, in a state that is written."""
    raise AssertionError(f"the reference to {name} was not resolved")


def _runs(pages: set[int]) -> Iterator[Pages]:
    """Return pages as ranges, in order."""
    found = sorted(pages)
    begins = [page for page in found if page - 1 not in pages]
    ends = [page + 1 for page in found if page + 1 not in pages]
    yield from zip(begins, ends, strict=True)
