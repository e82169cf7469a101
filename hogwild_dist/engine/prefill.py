"""Encoding of texts that stand alone: prompts, separators, what a person says in between."""

from collections.abc import Sequence
from dataclasses import dataclass

from hogwild_dist.exchange.base import Exchange
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots
from hogwild_dist.model.model_runner import ModelRunner


@dataclass(frozen=True, slots=True)
class Part:
    """A text that is encoded alone.

    Attributes:
        view: what it sees; it is appended to the last block.
        token_ids: of it.
    """

    view: tuple[Block, ...]
    token_ids: tuple[int, ...]


class Prefill:
    """Encodes parts chunk by chunk: one shard computes, the others receive.

    Args:
        cache: that the parts go to.
        runner: of the model.
        exchange: of the group.
        chunk: most tokens of a forward.
    """

    def __init__(self, cache: KVCache, runner: ModelRunner, exchange: Exchange, chunk: int) -> None:
        self._cache = cache
        self._runner = runner
        self._exchange = exchange
        self._chunk = chunk
        self.num_tokens = 0
        """Encoded so far."""

    def encode(self, part: Part, home: int) -> None:
        """Encode all of a part.

        Args:
            part: what.
            home: the shard that computes it.
        """
        for begin in range(0, len(part.token_ids), self._chunk):
            ids = part.token_ids[begin : begin + self._chunk]
            self.encode_together([(Part(part.view, ids), home)])

    def encode_together(self, parts: Sequence[tuple[Part, int]]) -> int:
        """Encode parts in one forward of every shard that has any.

        Args:
            parts: what, none in the view of another, and the shard that computes it.

        Returns:
            Tokens encoded.
        """
        rows = [Row(part.view, part.token_ids) for part, _ in parts]
        slots = allocate_slots(self._cache, rows)
        mine = [at for at, (_, home) in enumerate(parts) if home == self._exchange.rank]
        if mine:
            self._runner.compute([rows[at] for at in mine], [slots[at] for at in mine], None)
        sent: list[list[int]] = [[] for _ in range(self._exchange.world_size)]
        for own, (_, home) in zip(slots, parts, strict=True):
            sent[home] += own
        self._exchange.share(sent)
        for row in rows:
            self._cache.commit(row.view[-1], len(row.token_ids))
        count = sum(len(row.token_ids) for row in rows)
        self.num_tokens += count
        return count
