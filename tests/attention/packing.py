"""Rows as the batch of one forward pass."""

from collections.abc import Sequence

from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.config import Visibility
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots


def allocate_and_build(cache: KVCache, rows: Sequence[Row], visibility: Visibility) -> Batch:
    return build_batch(rows, allocate_slots(cache, rows), visibility)
