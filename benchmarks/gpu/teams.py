"""Decode steps of teams over random keys and values, without a session around them."""

from collections.abc import Callable
from typing import Any

import torch

from hogwild_dist.attention.registry import find_backend
from hogwild_dist.config import SamplingConfig, Visibility
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.cache import Block, KVCache
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.loaded_model import LoadedModel
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.sampler import SamplingRow
from hogwild_dist.timeline import Timeline

OWN_TOKENS = 32
"""Length of each worker's own block; the rest of the context is one shared block."""

MOST_OWN_TOKENS = 128
"""Length at which each worker's own block is cut back; so much of the cache is kept for it."""


def team_step(
    model: LoadedModel,
    *,
    workers: int,
    context: int,
    teams: int = 1,
    attention: str | None = None,
    graphs: bool = True,
    timeline: Timeline | None = None,
) -> Callable[[], Any]:
    """Return a decode step: forward pass, greedy choice, and the ids on the host.

    The blocks grow by a token with each step, as they do in a session, so that the plan of a step
    is ready before it begins.

    Args:
        model: the model.
        workers: number of workers of each team.
        context: tokens that each worker sees in the first step.
        teams: number of teams, each with a context of its own.
        attention: name of the attention kernel; None picks the default.
        graphs: whether steps run from fixed buffers, on a GPU as CUDA graphs.
        timeline: notes what is captured and replayed.
    """
    cache = model.new_cache(teams * (context + workers * MOST_OWN_TOKENS))
    backend = find_backend(attention, model.attention_needs)
    exchange = LocalExchange(Visibility.SAME_STEP)
    runner = ModelRunner(model, cache, exchange, backend, graphs=graphs, timeline=timeline)
    rows = [row for _ in range(teams) for row in team_rows(cache, workers, context)]
    asked = [SamplingRow(SamplingConfig(), list, 0.0) for _ in rows]

    @torch.inference_mode()
    def step() -> list[int | None]:
        logits, _ = runner.forward(rows)
        tokens = runner.sample(logits, asked).tokens
        if rows[0].view[-1].length == MOST_OWN_TOKENS:
            for row in rows:
                cache.truncate(row.view[-1], OWN_TOKENS)
        return tokens

    return step


def prefill_chunk(
    model: LoadedModel, *, chunk: int, context: int, attention: str
) -> Callable[[], Any]:
    """Return a forward pass of a chunk of a prompt.

    Args:
        model: the model.
        chunk: number of new tokens.
        context: tokens of the prompt before them.
        attention: name of the attention kernel.
    """
    cache = model.new_cache(context + 2 * chunk)
    backend = find_backend(attention, model.attention_needs)
    runner = ModelRunner(model, cache, LocalExchange(Visibility.SAME_STEP), backend)
    block = _filled(cache, context) if context else cache.new_block("b")
    row = Row((block,), (5,) * chunk)

    def encode() -> None:
        runner.forward([row])
        cache.truncate(block, context)

    return encode


def team_kv_bytes(model: LoadedModel, *, workers: int, context: int, teams: int = 1) -> int:
    """Return the bytes of K and V that a step has to read: each token once."""
    return teams * (context + workers) * model.new_cache(1).token_bytes


def team_rows(cache: KVCache, workers: int, context: int) -> list[Row]:
    common = _filled(cache, context - workers * OWN_TOKENS)
    own = [_filled(cache, OWN_TOKENS) for _ in range(workers)]
    return [Row((common, *(o for o in own if o is not block), block), (7,)) for block in own]


def _filled(cache: KVCache, count: int) -> Block:
    """Return a block of random keys and values."""
    block = cache.new_block("b")
    device = cache.keys[0].device
    slots = torch.tensor(cache.extend(block, [5] * count), device=device)
    for layer, slab in enumerate(cache.keys):
        shape = (slab.shape[0], count, slab.shape[2])
        keys, values = (torch.randn(shape, dtype=slab.dtype, device=device) for _ in range(2))
        cache.write(layer, slots, keys, values)
    cache.commit(block, count)
    return block
