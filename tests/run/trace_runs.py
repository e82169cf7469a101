"""Runs to record, and engines that replay them."""

from pathlib import Path

from hogwild_dist.engine.engine import Engine
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.run.trace.reader import Trace, read_trace
from hogwild_dist.run.trace.replay import check_fits, replay_fed, replay_free
from hogwild_dist.team.layout import Layout
from hogwild_dist.team.team import Limits, Team
from tests.replaying import engine_config
from tests.tiny_team import BREAKS, PROMPTS
from tests.tiny_tokenizer import byte_tokenizer


def new_team(layout: Layout, **fields: object) -> Team:
    defaults = {"prompts": PROMPTS, "sampling": BREAKS, "limits": Limits(max_tokens=50), "seed": 5}
    return Team(names=("Ann", "Ben", "Cat"), layout=layout, **{**defaults, **fields})


def new_engine(trace: Trace, model: LoadedModel) -> Engine:
    return Engine(model, byte_tokenizer(), engine_config(trace, 4_096))


def replays(engine: Engine, path: Path) -> None:
    trace = read_trace(path)
    check_fits(trace, engine.model.info, engine.tokenizer)
    again = new_engine(trace, engine.model)
    rows = list(replay_fed(trace, again))
    assert rows
    assert all(row.agrees(1e-5) and row.argmax == row.expected for row in rows)
    steps = list(replay_free(trace, new_engine(trace, engine.model)))
    assert steps == [[]] * len(trace.steps)
