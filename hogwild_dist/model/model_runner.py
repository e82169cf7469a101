"""The forward pass of a model over packed rows: from blocks and tokens to logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild_dist.attention.backend import AttentionBackend
from hogwild_dist.attention.batch import Batch, build_batch
from hogwild_dist.attention.layer import StepContext
from hogwild_dist.attention.registry import find_backend
from hogwild_dist.attention.tables.kernel import TableKernel
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import Exchange, LayerExchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rows import Row, allocate_slots, release_slots
from hogwild_dist.kvcache.upload import upload
from hogwild_dist.model.forward import forward
from hogwild_dist.model.graphs.capturer import Capturer
from hogwild_dist.model.graphs.sampler_graphs import SamplerGraphs
from hogwild_dist.model.graphs.static_step import DecodeModel
from hogwild_dist.model.graphs.step_graphs import StepGraphs
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.model.sampler import Sampled, SamplingRow, sample
from hogwild_dist.timeline import Timeline


class ModelRunner:
    """Runs a model over the blocks of one cache.

    Args:
        model: the loaded model.
        cache: cache that the model made.
        exchange: carries K and V between shards.
        attention: attention backend; None selects the default of device and dtype.
        graphs: whether decode steps run from fixed buffers, if `kernel_for_graphs` finds a kernel
            for it.
        timeline: notes what is captured and replayed.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache: KVCache,
        exchange: Exchange,
        attention: AttentionBackend | None = None,
        *,
        graphs: bool = False,
        timeline: Timeline | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.exchange = exchange
        self.attention = attention or find_backend(None, model.attention_needs)
        self._graphs: StepGraphs | None = None
        self._samplers: SamplerGraphs | None = None
        kernel = kernel_for_graphs(self.attention, model.device) if graphs else None
        if kernel is not None:
            decode = DecodeModel.of(model, cache, kernel)
            capturer = Capturer(model.device)
            timeline = timeline or Timeline()
            self._graphs = StepGraphs(decode, exchange.visibility, capturer, timeline)
            self._samplers = SamplerGraphs(capturer)

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
        *,
        alone: bool = False,
    ) -> tuple[Tensor, Batch]:
        """Run the forward pass over rows whose slots are allocated; nothing is committed.

        Args:
            rows: rows that this process computes, at least one.
            slots: slab slots of each row's new tokens, from `allocate_slots`.
            arriving: rows that the peers compute in the same step; None if they take no part.
            alone: whether the rows are those of all shards, of which nothing is sent.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``, and the packed batch.
        """
        layered = (
            arriving is not None and not alone and self.exchange.visibility is Visibility.SAME_STEP
        )
        peers = self.exchange if layered and self.exchange.world_size > 1 else None
        if self._graphs is None or arriving is None:
            batch = build_batch(rows, slots, self.exchange.visibility, arriving or ())
            return self._run(batch, peers), batch
        planned = self._graphs.plan(rows, slots, arriving)
        logits = self._graphs.run(planned, peers)
        if logits is None:
            logits = self._run(planned.batch, peers)
        self._graphs.expect(rows, arriving)
        return logits, planned.batch

    @torch.inference_mode()
    def sample(self, logits: Tensor, rows: Sequence[SamplingRow]) -> Sampled:
        """Choose the token of each row; see `sampler.sample`."""
        if self._samplers is not None:
            return self._samplers.sample(logits, rows)
        return sample(logits, rows)

    def _run(self, batch: Batch, peers: LayerExchange | None) -> Tensor:
        """Run a forward pass of any size, without fixed buffers."""
        last_of_rows = [stop - 1 for stop in batch.row_starts[1:]]
        numbers = (batch.token_ids, batch.positions, batch.slots, last_of_rows)
        token_ids, positions, slots, last = upload(numbers, torch.int64, self.model.device)
        attention = self.attention.begin(self.cache, batch)
        context = StepContext(self.cache, slots, attention, peers)
        return forward(self.model.hf_model, token_ids, positions, last, context)


def kernel_for_graphs(attention: AttentionBackend, device: torch.device) -> TableKernel | None:
    """Return the kernel with which steps run from fixed buffers, or None if they cannot.

    Args:
        attention: the attention backend.
        device: device of the model; if it is a GPU, the steps become CUDA graphs.
    """
    if not isinstance(attention, TableBackend):
        return None
    usable = device.type == "cpu" or attention.kernel.capturable
    return attention.kernel if usable else None
