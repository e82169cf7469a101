"""The rotations of a step's queries, computed once for all layers that share them."""

import torch
from torch import Tensor

from hogwild_dist.kvcache.rope import RotaryTables


class StepRotations:
    """Cosines and sines of one forward pass, by sliding window and rotary table.

    Args:
        rotary: the model's rotary tables.
    """

    def __init__(self, rotary: RotaryTables) -> None:
        self._rotary = rotary
        self._known: dict[tuple[int | None, int], tuple[Tensor, Tensor]] = {}

    def get(
        self, window: int | None, distances: Tensor, layer: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines for the rotary table of a layer.

        Args:
            window: sliding window of the layer, which the distances belong to.
            distances: ``[num_entries]`` rotation of each entry's query, in tokens.
            layer: index of the layer.
            dtype: dtype of the queries; the result has at least single precision.

        Returns:
            Two tensors ``[num_entries, rotary_dim]``, contiguous; see `RotaryTables.rotation`.
        """
        key = (window, self._rotary.table_of_layer[layer])
        if key not in self._known:
            self._known[key] = self._rotary.rotation(distances, layer, dtype)
        return self._known[key]
