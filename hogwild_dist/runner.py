"""One forward of the model over packed rows: from blocks and tokens to logits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hogwild_dist.attention import Backend, StepContext, pick_backend
from hogwild_dist.batch import Batch, Row, build_batch, undo_batch
from hogwild_dist.cache import Block, KVCache
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.network import LoadedModel


class ModelRunner:
    """Runs a model over the blocks of one cache.

    Args:
        model: the model.
        cache: made by the same model.
        exchange: brings the peers' K and V.
        backend: attention kernel; None picks one for the device.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache: KVCache,
        exchange: Exchange,
        backend: Backend | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.exchange = exchange
        self.backend = backend or pick_backend(model.device)

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> tuple[Tensor, Batch]:
        """Feed every row's new tokens at once.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``, and the packed batch.

        Raises:
            ContextLimitError: the cache is full. Whatever is raised, the blocks are as before.
        """
        batch = build_batch(self.cache, rows, self.exchange.visibility)
        try:
            context = StepContext(self.cache, batch, self.exchange, self.backend)
            device = self.model.device
            last = torch.tensor([stop - 1 for stop in batch.row_starts[1:]], device=device)
            output = self.model.network(
                input_ids=torch.tensor([batch.token_ids], device=device),
                position_ids=torch.tensor([batch.positions], device=device),
                use_cache=False,
                logits_to_keep=last,
                hogwild=context,
            )
        except BaseException:
            undo_batch(self.cache, rows)
            raise
        logits: Tensor = output.logits[0]
        return logits, batch

    def encode_alone(self, block: Block, token_ids: Sequence[int], chunk: int) -> None:
        """Append tokens to a block that sees nothing but itself, `chunk` tokens a forward.

        Raises:
            ContextLimitError: the cache is full; the chunks before are kept.
        """
        for begin in range(0, len(token_ids), chunk):
            self.forward([Row((block,), tuple(token_ids[begin : begin + chunk]))])
