"""Prefill: encoding of texts that no worker writes, such as prompts, separators and messages."""

from collections.abc import Sequence

from hogwild_dist.exchange.base import Exchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots
from hogwild_dist.model.model_runner import ModelRunner


class Prefill:
    """Encodes texts chunk by chunk: one shard computes each text, the others receive it.

    Args:
        cache: holds the blocks that the texts are appended to.
        runner: runs the model's forward pass.
        exchange: connects the shards of the group.
        chunk: the most tokens of one text in one forward pass.
    """

    def __init__(self, cache: KVCache, runner: ModelRunner, exchange: Exchange, chunk: int) -> None:
        self._cache = cache
        self._runner = runner
        self._exchange = exchange
        self._chunk = chunk
        self.num_tokens = 0
        """Tokens encoded so far, on all shards."""

    def encode(self, row: Row, home: int) -> None:
        """Encode one text, one chunk a forward pass.

        Args:
            row: the whole text, however long.
            home: rank of the shard that computes it.
        """
        for begin in range(0, len(row.token_ids), self._chunk):
            chunk = Row(row.view, row.token_ids[begin : begin + self._chunk])
            self.encode_together([(chunk, home)])

    def encode_together(self, rows: Sequence[tuple[Row, int]]) -> int:
        """Encode several texts, in one forward pass on every shard that computes any of them.

        Args:
            rows: each text, and the rank of the shard that computes it; no text is in the view
                of another.

        Returns:
            Number of tokens encoded.
        """
        texts = [row for row, _ in rows]
        slots = allocate_slots(self._cache, texts)
        own = [at for at, (_, home) in enumerate(rows) if home == self._exchange.rank]
        if own:
            self._runner.compute([texts[at] for at in own], [slots[at] for at in own], None)
        shared: list[list[int]] = [[] for _ in range(self._exchange.world_size)]
        for slots_of_row, (_, home) in zip(slots, rows, strict=True):
            shared[home] += slots_of_row
        self._exchange.share(shared)
        for row in texts:
            self._cache.commit(row.view[-1], len(row.token_ids))
        count = sum(len(row.token_ids) for row in texts)
        self.num_tokens += count
        return count
