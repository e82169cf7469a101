"""Attention over shared blocks, called by transformers' own model code once a layer.

The query is rotated to fit each block (`rope`; paper section 3.4), each block's K and V are read
once for all rows that see it, and the partial results merge by their log-sum-exp:

    out = sum_b exp(lse_b - lse) * out_b,   lse = log sum_b exp(lse_b)

Shape suffixes: H key-value heads, G query heads for each key-value head, E entries, N packed
tokens, P parts of a token, D head size, R concatenated results of the calls.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.kernel_calls import KernelCalls, kernel_calls
from hogwild_dist.attention.kernels import AttentionKernel
from hogwild_dist.attention.plan import plan_attention
from hogwild_dist.errors import ModelError
from hogwild_dist.exchange.base import Exchange
from hogwild_dist.kvcache.cache import KVCache
from hogwild_dist.kvcache.rope import rotate

ATTENTION_NAME = "hogwild"

REFUSED = {
    "attention_mask": "makes attention masks of its own",
    "softcap": "caps its attention scores",
    "s_aux": "gives a part of its attention to learned sinks",
}
"""Argument that a model's attention passes -> why a merge of blocks cannot reproduce it."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The attention of a step for all layers with the same sliding window and shape.

    Attributes:
        tokens: ``[num_entries]`` packed query token of each entry.
        distances: ``[num_entries]`` rotation of each query, in tokens, to fit the block.
        kernel: the kernel calls.
    """

    tokens: Tensor
    distances: Tensor
    kernel: KernelCalls


class StepContext:
    """State shared by the attention layers of one forward pass; transformers passes it through.

    Args:
        cache: holds the blocks.
        batch: the packed tokens.
        kernel: the attention kernel.
        peers: exchange that brings the peers' new K and V layer by layer; None if no row sees
            them in this step.
    """

    def __init__(
        self, cache: KVCache, batch: Batch, kernel: AttentionKernel, peers: Exchange | None = None
    ) -> None:
        self.cache = cache
        self.batch = batch
        self.kernel = kernel
        self.peers = peers
        self.device = cache.keys[0].device
        self.slots = torch.tensor(batch.slots, device=self.device)
        self._layers: dict[tuple[int | None, tuple[int, int, int]], LayerPlan] = {}
        self._rotations: dict[tuple[int | None, int], tuple[Tensor, Tensor]] = {}

    def layer_plan(
        self, window: int | None, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> LayerPlan:
        """Return the plan for layers with this sliding window and shape; see `kernel_calls`."""
        key = (window, shape)
        if key not in self._layers:
            plan = plan_attention(self.batch, window, self.device)
            self._layers[key] = LayerPlan(
                tokens=torch.tensor(plan.tokens, device=self.device),
                distances=torch.tensor(plan.distances, device=self.device),
                kernel=kernel_calls(plan, shape, dtype, self.device),
            )
        return self._layers[key]

    def rotation(
        self, window: int | None, distances: Tensor, layer: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of a plan's distances for the rotary table of `layer`."""
        key = (window, self.cache.rotary.table_of_layer[layer])
        if key not in self._rotations:
            self._rotations[key] = self.cache.rotary.rotation(distances, layer, dtype)
        return self._rotations[key]


def attend_view(
    context: StepContext, layer: int, q: Tensor, window: int | None, scale: float
) -> Tensor:
    """Attend from every row to its whole view.

    Args:
        context: shared state of the forward pass.
        layer: index of the layer.
        q: ``[H * G, N, D]`` queries, rotated at block-local positions.
        window: sliding window of the layer, in tokens, or None.
        scale: factor of the scores.

    Returns:
        ``[N, H * G, D]`` attention output.
    """
    keys, values = context.cache.keys[layer], context.cache.values[layer]
    num_kv_heads, num_groups = keys.shape[0], q.shape[0] // keys.shape[0]
    plan = context.layer_plan(window, (num_kv_heads, num_groups, q.shape[-1]), q.dtype)
    rotation = context.rotation(window, plan.distances, layer, q.dtype)
    q_rotated = rotate(q.index_select(1, plan.tokens), *rotation)
    q_HGED = q_rotated.view(num_kv_heads, num_groups, -1, q.shape[-1])
    q_HEGD = q_HGED.transpose(1, 2).contiguous()
    results: list[tuple[Tensor, Tensor]] = [(q, q)] * len(plan.kernel.calls)

    def attend(from_peers: bool) -> None:
        for place, call in enumerate(plan.kernel.calls):
            if call.from_peers is from_peers:
                k, v = call.keys(keys), call.keys(values)
                results[place] = context.kernel(call.queries(q_HEGD), k, v, call.mask, scale)

    attend(from_peers=False)
    if context.peers is not None:
        context.peers.receive_layer(layer)
        attend(from_peers=True)
    out_HRD, lse_HR = (
        torch.cat([part.transpose(0, 1).flatten(1, 2) for part in parts], 1)
        for parts in zip(*results, strict=True)
    )
    out_HEGD = out_HRD.view(num_kv_heads, -1, num_groups, values.shape[-1])
    lse_HEG = lse_HR.view(num_kv_heads, -1, num_groups)
    return _merge(out_HEGD, lse_HEG, plan.kernel).permute(1, 0, 2, 3).flatten(1, 2).contiguous()


def _merge(out_HEGD: Tensor, lse_HEG: Tensor, kernel: KernelCalls) -> Tensor:
    """Merge each token's partial results by their log-sum-exp into ``[H, N, G, D]``."""
    num_kv_heads, _, num_groups, head_dim = out_HEGD.shape
    num_tokens, num_parts = kernel.parts.shape
    flat = kernel.parts.flatten()
    shape = (num_kv_heads, num_tokens, num_parts, num_groups)
    out_HNPGD = out_HEGD.index_select(1, flat).view(*shape, head_dim)
    if num_parts == 1:
        return out_HNPGD[:, :, 0]
    lse_HNPG = lse_HEG.index_select(1, flat).view(shape)
    if kernel.no_part is not None:
        lse_HNPG = lse_HNPG.masked_fill(kernel.no_part[None, :, :, None], -torch.inf)
    weight = lse_HNPG.softmax(2).unsqueeze(-1)
    merged: Tensor = (out_HNPGD * weight).sum(2)
    return merged.to(out_HEGD.dtype)


def hogwild_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    hogwild: StepContext | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend over shared blocks; transformers calls this in every attention layer.

    Args:
        module: the attention module; only its `layer_idx` is read.
        query: ``[1, H * G, N, D]``, rotated at block-local positions.
        key: ``[1, H, N, D]``, rotated at block-local positions.
        value: ``[1, H, N, D]``.
        attention_mask: None; the plan decides which keys are visible.
        scaling: factor of the scores.
        hogwild: shared state of the forward pass; None if the model does not pass it on.
        sliding_window: sliding window in tokens of the worker's view, or None.
        **kwargs: further arguments of transformers.

    Raises:
        ModelError: the model changes scores in a way that a merge of blocks cannot reproduce, or
            does not pass the step's state to its attention.
    """
    if hogwild is None:
        raise _refusal("does not pass further arguments to its attention")
    asked = {**kwargs, "attention_mask": attention_mask}
    for name, reason in REFUSED.items():
        if asked.get(name) is not None:
            raise _refusal(reason)
    layer: int = module.layer_idx  # type: ignore[assignment]
    hogwild.cache.write(layer, hogwild.slots, key[0], value[0])
    if hogwild.peers is not None:
        hogwild.peers.send_layer(layer)
    return attend_view(hogwild, layer, query[0], sliding_window, scaling)[None], None


def register() -> None:
    """Register ``attn_implementation="hogwild"`` with transformers."""
    AttentionInterface.register(ATTENTION_NAME, hogwild_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, lambda *_, **__: None)


def _refusal(reason: str) -> ModelError:
    return ModelError(
        f"The model cannot share blocks, because it {reason}; choose a decoder with plain rotary "
        "positions, such as a Llama, Qwen or Mistral model."
    )
