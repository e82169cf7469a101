"""Whether decode steps give the same tokens with CUDA graphs and without."""

import torch

from benchmarks.gpu.settings import Rows, Settings
from benchmarks.gpu.shapes import SHAPES, Shape, random_model
from benchmarks.gpu.teams import team_rows
from hogwild_dist.attention.registry import find_backend
from hogwild_dist.config import SamplingConfig, Visibility
from hogwild_dist.exchange.local import LocalExchange
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.loaded_model import LoadedModel, prepare_model
from hogwild_dist.model.model_runner import ModelRunner
from hogwild_dist.model.sampler import SamplingRow
from hogwild_dist.model.sampling import uniform

SAMPLING = (
    SamplingConfig(),
    SamplingConfig(temperature=0.8, top_p=0.95, top_k=20),
    SamplingConfig(temperature=1.0, repetition_penalty=1.2),
)
"""How the workers of a team choose: in turns greedy, filtered, and from the whole vocabulary."""


def graphs(settings: Settings) -> Rows:
    """Tokens of a team with graphs beside those without, from the same keys and values."""
    shape = (
        SHAPES["tiny"]
        if settings.tiny
        else Shape(hidden=512, inner=1_024, layers=4, heads=8, kv_heads=2, head_dim=64, vocab=9_000)
    )
    attention = "tables" if settings.interpreted else "triton"
    for dtype in (torch.float32, torch.bfloat16)[: 2 - settings.interpreted]:
        model = prepare_model(random_model(shape, dtype, settings.device), name="random")
        for workers in (1, 3, 8):
            without, with_graphs = (
                written(model, attention, workers, graphs=graphs) for graphs in (False, True)
            )
            yield {
                "dtype": str(dtype).removeprefix("torch."),
                "workers": workers,
                "tokens": sum(map(len, without)),
                "ok": without == with_graphs,
            }


@torch.inference_mode()
def written(
    model: LoadedModel, attention: str, workers: int, *, graphs: bool, steps: int = 12
) -> list[list[int]]:
    """Return the tokens that each worker of a team writes."""
    torch.manual_seed(2)
    cache = model.new_cache(4_096)
    backend = find_backend(attention, model.attention_needs)
    exchange = LocalExchange(Visibility.SAME_STEP)
    runner = ModelRunner(model, cache, exchange, backend, graphs=graphs)
    rows = team_rows(cache, workers, 700)
    tokens: list[list[int]] = [[7] for _ in rows]
    for step in range(steps):
        fed = [Row(row.view, (own[-1],)) for row, own in zip(rows, tokens, strict=True)]
        logits, batch = runner.forward(fed)
        asked = [
            SamplingRow(
                config=SAMPLING[at % len(SAMPLING)],
                seen_ids=lambda at=at, batch=batch: batch.seen_ids(at),
                number=uniform(1, at, step),
            )
            for at in range(workers)
        ]
        for own, token in zip(tokens, runner.sample(logits, asked).tokens, strict=True):
            own.append(token or 0)
    return tokens
