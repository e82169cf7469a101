"""The interface of an attention backend: how the layers of one forward pass attend to blocks."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hogwild_dist.attention.batch import Batch
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.cache import KVCache


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionNeeds:
    """What a model asks of an attention backend.

    Attributes:
        device: device of the model.
        dtype: dtype of queries, keys and values.
        head_dim: largest head size of its layers.
        num_groups: most query heads for one key-value head.
    """

    device: torch.device
    dtype: torch.dtype
    head_dim: int = 64
    num_groups: int = 1


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How a layer scores the keys that a query sees.

    Attributes:
        scale: factor of the scores.
        window: sliding window in tokens of the worker's view, or None.
        cap: soft cap: scores become ``cap * tanh(score / cap)``; None caps nothing.
    """

    scale: float
    window: int | None = None
    cap: float | None = None


class StepAttention(Protocol):
    """The attention of all layers in one forward pass."""

    def attend(
        self, layer: int, q: Tensor, rule: ScoreRule, peers: LayerExchange | None = None
    ) -> Tensor:
        """Attend from every row to its whole view.

        Args:
            layer: index of the layer.
            q: ``[H * G, N, D]`` queries, rotated at block-local positions.
            rule: how the layer scores keys.
            peers: exchange that brings the peers' new K and V of this layer; None if no row sees
                them in this step.

        Returns:
            ``[N, H * G, D]`` attention output.
        """
        ...


class AttentionBackend(Protocol):
    """Makes the attention of each forward pass; one backend serves one cache."""

    def begin(self, cache: KVCache, batch: Batch) -> StepAttention:
        """Return the attention of one forward pass.

        Args:
            cache: holds the blocks.
            batch: the packed tokens.
        """
        ...
