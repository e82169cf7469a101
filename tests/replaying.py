"""Engines that replay traces."""

from hogwild_dist.config import EngineConfig
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import recorded_settings


def engine_config(trace: Trace, cache_tokens: int) -> EngineConfig:
    return EngineConfig(cache_tokens=cache_tokens, **recorded_settings(trace))
