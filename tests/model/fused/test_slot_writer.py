"""Caches whose keys and values are written in one launch hold what others hold."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from hogwild_dist.kvcache.cache import Block, KVCache, LayerShape
from hogwild_dist.kvcache.slot_writer import SlotWriter, write_by_index
from hogwild_dist.model.fused import slot_writer
from hogwild_dist.model.fused.operations import write_both
from hogwild_dist.model.fused.slot_writer import find_slot_writer
from hogwild_dist.run.run import Run
from hogwild_dist.team.team import Limits, Team
from tests.attention.random_team import DEVICE
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import BREAKS, PROMPTS

SHAPE = LayerShape(num_kv_heads=2, head_dim=24)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_launch_writes_both(dtype: torch.dtype) -> None:
    assert find_slot_writer(SHAPE, DEVICE, dtype) is write_both


def test_float64_is_written_by_index() -> None:
    assert find_slot_writer(SHAPE, DEVICE, torch.float64) is write_by_index


def swapped(key_slab: Any, value_slab: Any, slots: Any, keys: Any, values: Any) -> None:
    write_by_index(key_slab, value_slab, slots, values, keys)


def in_order(key_slab: Any, value_slab: Any, slots: Any, keys: Any, values: Any) -> None:
    write_by_index(key_slab, value_slab, slots.sort().values, keys, values)


def failing(*_: Any) -> None:
    raise RuntimeError("no kernel image\nfor this device")


@pytest.mark.parametrize(
    ("wrong", "messages"),
    [
        (swapped, []),
        (in_order, []),
        (failing, ["a fused write of keys and values does not run here: no kernel image"]),
    ],
)
def test_what_writes_something_else_is_not_used(
    wrong: SlotWriter,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(slot_writer, "write_both", wrong)
    caplog.set_level(logging.WARNING)
    assert find_slot_writer(SHAPE, DEVICE, torch.float32) is write_by_index
    assert caplog.messages == messages


def test_a_run_writes_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts, steps and paragraphs that move into the history write to the cache."""
    moved = []

    def append_from(cache: KVCache, target: Block, source: Block) -> int:
        moved.append(source.length)
        return move(cache, target, source)

    move = KVCache.append_from
    monkeypatch.setattr(KVCache, "append_from", append_from)
    model = tiny_byte_model()
    limits = Limits(max_tokens=30)
    team = Team(names=("Ann", "Ben"), prompts=PROMPTS, sampling=BREAKS, limits=limits)
    texts = []
    for one in (model, replace(model, slot_writer=write_both)):
        run = Run(tiny_engine(one, attention="tables"), "Count!", team)
        for _ in run:
            pass
        texts.append(run.result.texts)
    assert any(moved)
    assert texts[0] == texts[1]
