"""Prefill: encoding of texts that no worker writes, such as prompts, separators and messages."""

from collections.abc import Sequence

from hogwild_dist.engine.placement import home_rank
from hogwild_dist.engine.rounds import Rounds
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots
from hogwild_dist.model.model_runner import ModelRunner


class Prefill:
    """Encodes texts chunk by chunk: one shard computes each text, the others receive it.

    Args:
        cache: holds the blocks that the texts are appended to.
        runner: runs the model's forward pass.
        rounds: completes the rounds of this shard, with its exchange.
        chunk: the most tokens of one text in one forward pass.
    """

    STATE = ("num_tokens",)

    def __init__(self, cache: KVCache, runner: ModelRunner, rounds: Rounds, chunk: int) -> None:
        self._cache = cache
        self._runner = runner
        self._exchange = rounds.exchange
        self._rounds = rounds
        self._chunk = chunk
        self.num_tokens = 0
        """Tokens encoded so far, on all shards."""

    def encode(self, row: Row, session: int) -> None:
        """Encode one text, one chunk a forward pass.

        Args:
            row: the whole text, however long.
            session: id of the text's session, whose home shard computes it.
        """
        for begin in range(0, len(row.token_ids), self._chunk):
            chunk = Row(row.view, row.token_ids[begin : begin + self._chunk])
            self.encode_together([(chunk, session)])

    def encode_together(self, rows: Sequence[tuple[Row, int]]) -> int:
        """Encode several texts, in one forward pass on every shard that computes any of them.

        Args:
            rows: each text, and the id of its session; no text is in the view of another.

        Returns:
            Number of tokens encoded.
        """
        texts = [row for row, _ in rows]
        slots = allocate_slots(self._cache, texts)

        def together() -> None:
            homes = [home_rank(session, self._exchange.world_size) for _, session in rows]
            self._compute(texts, slots, [home == self._exchange.rank for home in homes])
            shared: list[list[int]] = [[] for _ in range(self._exchange.world_size)]
            for slots_of_row, home in zip(slots, homes, strict=True):
                shared[home] += slots_of_row
            self._exchange.share(shared)

        self._rounds.complete(together, lambda: self._compute(texts, slots, [True] * len(texts)))
        for row in texts:
            self._cache.commit(row.view[-1], len(row.token_ids))
        count = sum(len(row.token_ids) for row in texts)
        self.num_tokens += count
        return count

    def _compute(
        self, texts: Sequence[Row], slots: Sequence[Sequence[int]], which: Sequence[bool]
    ) -> None:
        """Compute K and V of some of the texts."""
        chosen = [at for at, wanted in enumerate(which) if wanted]
        if chosen:
            rows, places = [texts[at] for at in chosen], [slots[at] for at in chosen]
            self._runner.compute(rows, places, arriving=None)
