"""Encoding of texts that stand alone: prompts, separators, what a person says in between."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hogwild_dist.batch import Row, make_room
from hogwild_dist.cache import Block, KVCache
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.runner import ModelRunner


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
        self.encode_some(deque([part]), home, len(part.token_ids))

    def encode_some(self, parts: deque[Part], home: int, budget: int) -> int:
        """Encode the next parts; what is done is taken out.

        Args:
            parts: in order.
            home: the shard that computes them.
            budget: most tokens.

        Returns:
            Tokens encoded.
        """
        begin = self.num_tokens
        while parts and (left := budget - (self.num_tokens - begin)) > 0:
            part = parts.popleft()
            count = min(left, self._chunk)
            self._forward(part.view, part.token_ids[:count], home)
            if len(part.token_ids) > count:
                parts.appendleft(Part(part.view, part.token_ids[count:]))
        return self.num_tokens - begin

    def _forward(self, view: tuple[Block, ...], token_ids: tuple[int, ...], home: int) -> None:
        row = Row(view, token_ids)
        slots = make_room(self._cache, [row])
        if home == self._exchange.rank:
            self._runner.compute([row], slots, arriving=None)
        sent: list[Sequence[int]] = [()] * self._exchange.world_size
        sent[home] = slots[0]
        self._exchange.share(sent)
        self._cache.commit(view[-1], len(token_ids))
        self.num_tokens += len(token_ids)
