"""The forward pass of a model over packed rows: from blocks and tokens to logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild_dist.attention.backend import AttentionBackend
from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.layer import StepContext
from hogwild_dist.attention.registry import find_backend
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots, release_slots
from hogwild_dist.kvcache.upload import upload
from hogwild_dist.model.loaded_model import LoadedModel


class ModelRunner:
    """Runs a model over the blocks of one cache.

    Args:
        model: the loaded model.
        cache: cache that the model made.
        exchange: carries K and V between shards.
        attention: attention backend; None selects the default of device and dtype.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache: KVCache,
        exchange: Exchange,
        attention: AttentionBackend | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.exchange = exchange
        self.attention = attention or find_backend(None, model.attention_needs)

    def forward(self, rows: Sequence[Row]) -> tuple[Tensor, Batch]:
        """Feed every row's new tokens at once, in this process alone.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``, and the packed batch.

        Raises:
            ContextLimitError: the cache is full. After any error the blocks are unchanged.
        """
        slots = allocate_slots(self.cache, rows)
        try:
            result = self.compute(rows, slots)
        except BaseException:
            release_slots(self.cache, rows)
            raise
        for row in rows:
            self.cache.commit(row.view[-1], len(row.token_ids))
        return result

    @torch.inference_mode()
    def compute(
        self,
        rows: Sequence[Row],
        slots: Sequence[Sequence[int]],
        arriving: Sequence[Row] | None = (),
    ) -> tuple[Tensor, Batch]:
        """Run the forward pass over rows whose slots are allocated; nothing is committed.

        Args:
            rows: rows that this process computes, at least one.
            slots: slab slots of each row's new tokens, from `allocate_slots`.
            arriving: rows that the peers compute in the same step; None if they take no part.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``, and the packed batch.
        """
        layered = self.exchange.visibility is Visibility.SAME_STEP and arriving is not None
        batch = build_batch(rows, slots, self.exchange.visibility, arriving or ())
        peers = self.exchange if layered else None
        last_of_rows = [stop - 1 for stop in batch.row_starts[1:]]
        numbers = (batch.token_ids, batch.positions, batch.slots, last_of_rows)
        token_ids, positions, slot_ids, last = upload(numbers, torch.int64, self.model.device)
        attention = self.attention.begin(self.cache, batch)
        output = self.model.hf_model(
            input_ids=token_ids[None],
            position_ids=positions[None],
            use_cache=False,
            logits_to_keep=last,
            hogwild=StepContext(self.cache, slot_ids, attention, peers),
        )
        logits: Tensor = output.logits[0]
        return logits, batch
