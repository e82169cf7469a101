"""Whether decode steps compute the same with CUDA graphs and without."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
from hogwild_dist.timeline import Timeline

SAMPLING = (
    SamplingConfig(),
    SamplingConfig(temperature=0.8, top_p=0.95, top_k=20),
    SamplingConfig(temperature=1.0, repetition_penalty=1.2),
)
"""How the workers of a team choose: in turns greedy, filtered, and from the whole vocabulary."""


LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.2}
"""Largest difference of logits, over their standard deviation, that is rounding: products of other
numbers of rows add in another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a team has written.

    Attributes:
        tokens: the chosen tokens of each step, one for each worker.
        logits: ``[num_steps, num_workers, vocab_size]``.
        replays: number of steps from fixed buffers.
    """

    tokens: list[list[int]]
    logits: Tensor
    replays: int


def graphs(settings: Settings) -> Rows:
    """A team with graphs beside one without, which feeds the same tokens.

    Half precision has equal scores, so there tokens may differ; in float32 they must not.
    """
    shape = (
        SHAPES["tiny"]
        if settings.tiny
        else Shape(hidden=512, inner=1_024, layers=4, heads=8, kv_heads=2, head_dim=64, vocab=9_000)
    )
    attention = "tables" if settings.interpreted else "triton"
    for dtype in (torch.float32, torch.bfloat16)[: 2 - settings.interpreted]:
        model = prepare_model(random_model(shape, dtype, settings.device), name="random")
        for workers in (1, 3, 8):
            right = written(model, attention, workers, graphs=False)
            found = written(model, attention, workers, graphs=True, fed=right.tokens)
            spread = float(right.logits.std())
            difference = float((found.logits - right.logits).abs().max()) / spread
            steps = len(right.tokens)
            same = sum(one == other for one, other in zip(right.tokens, found.tokens, strict=True))
            yield {
                "dtype": str(dtype).removeprefix("torch."),
                "workers": workers,
                "steps": steps,
                "replayed": found.replays,
                "difference": difference,
                "same_choice": same,
                "ok": found.replays == steps
                and difference < LIMITS[dtype]
                and (same == steps or dtype != torch.float32),
            }


@torch.inference_mode()
def written(
    model: LoadedModel,
    attention: str,
    workers: int,
    *,
    graphs: bool,
    fed: Sequence[Sequence[int]] | None = None,
    steps: int = 12,
) -> Written:
    """Let a team write.

    Args:
        model: the model.
        attention: name of the attention kernel.
        workers: number of workers.
        graphs: whether steps run from fixed buffers.
        fed: the tokens that are fed after each step; None feeds the chosen ones.
        steps: number of steps.
    """
    torch.manual_seed(2)
    cache = model.new_cache(4_096)
    backend = find_backend(attention, model.attention_needs)
    exchange, timeline = LocalExchange(Visibility.SAME_STEP), Timeline(enabled=True)
    runner = ModelRunner(model, cache, exchange, backend, graphs=graphs, timeline=timeline)
    rows = team_rows(cache, workers, 700)
    tokens: list[list[int]] = []
    logits: list[Tensor] = []
    newest: Sequence[int] = [7] * workers
    for step in range(steps):
        feeding = [Row(row.view, (token,)) for row, token in zip(rows, newest, strict=True)]
        found, batch = runner.forward(feeding)
        logits.append(found.float())
        asked = [
            SamplingRow(
                config=SAMPLING[at % len(SAMPLING)],
                seen_ids=lambda at=at, batch=batch: batch.seen_ids(at),
                number=uniform(1, at, step),
            )
            for at in range(workers)
        ]
        tokens.append([token or 0 for token in runner.sample(found, asked).tokens])
        newest = tokens[-1] if fed is None else fed[step]
    replays = sum(span.name == "replay" for span in timeline.spans)
    return Written(tokens=tokens, logits=torch.stack(logits), replays=replays)
