"""Decode steps on fixed buffers write what steps without them write."""

import logging
import weakref
from collections import Counter
from typing import Any

import pytest
import torch

from hogwild_dist.attention.piece_attention import PieceBackend
from hogwild_dist.attention.piece_kernels import attend_matmul
from hogwild_dist.attention.tables.table_attention import TableBackend
from hogwild_dist.attention.tables.torch_kernel import TorchKernel
from hogwild_dist.config import Visibility
from hogwild_dist.engine.updates import Update
from hogwild_dist.model.graphs import capturer
from hogwild_dist.model.graphs.captured_pass import PlainPass
from hogwild_dist.model.graphs.capturer import Capturer
from hogwild_dist.model.graphs.static_step import DecodeModel
from hogwild_dist.model.graphs.step_graphs import StepGraphs
from hogwild_dist.model.model_runner import kernel_for_graphs
from hogwild_dist.timeline import Timeline
from tests.exchange import grid
from tests.exchange.grid import Case
from tests.tiny_engine import tiny_byte_model

CASES = [
    Case(3, 1, "combined", Visibility.SAME_STEP, greedy=False),
    Case(4, 1, "contiguous", Visibility.NEXT_STEP, greedy=True),
    Case(8, 1, "interleaved", Visibility.OVERLAPPED, greedy=False),
    Case(2, 1, "critic", Visibility.SAME_STEP, greedy=True),
]


def write(case: Case, attention: str | None, **fields: Any) -> tuple[list[Update], Counter[str]]:
    """The updates of a session, and how often each span was entered."""
    timeline = Timeline(enabled=True)
    engine = grid.new_engine(case.visibility, timeline=timeline, attention=attention, **fields)
    played = grid.play(engine, [case.spec()], recorded=False)
    updates = [grid.timeless(update) for update in played.updates]
    return updates, Counter(span.name for span in timeline.spans)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixed_buffers_change_no_token(case: Case) -> None:
    right, _ = write(case, None)
    found, spans = write(case, "tables")
    assert found == right
    assert spans["replay"] + spans["no graph"] == spans["compute"]
    assert spans["no graph"] < 5, "only first texts and prefixes may be longer than the buffers"
    assert 1 <= spans["capture"] <= 6


def test_they_can_be_switched_off() -> None:
    found, spans = write(CASES[0], "tables", graphs=False)
    assert found == write(CASES[0], None)[0]
    assert spans["compute"] > 20
    assert not spans["replay"]


def test_a_step_that_is_too_large_for_them_runs_without() -> None:
    """Eight workers begin with more than 64 tokens together."""
    case = Case(8, 1, "combined", Visibility.SAME_STEP, greedy=True)
    found, spans = write(case, "tables")
    assert found == write(case, None)[0]
    assert spans["no graph"] >= 1
    assert spans["no graph"] + spans["replay"] == spans["compute"]


def test_what_cannot_be_captured_runs_without_and_is_logged_once_a_size(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(forward: Any, peers: Any) -> PlainPass:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(capturer, "PlainPass", refuse)
    caplog.set_level(logging.WARNING)
    found, spans = write(CASES[0], "tables")
    assert found == write(CASES[0], None)[0]
    assert spans["no graph"] == spans["compute"]
    steps = [message for message in caplog.messages if message.startswith("steps of up to")]
    assert len(steps) == spans["capture"]
    assert "cannot be captured as a CUDA graph, and run without: CUDA out of" in steps[0]
    assert len(caplog.messages) > len(steps), "samplers too"


def test_what_reads_its_tables_on_the_host_is_not_captured() -> None:
    """A wait for the device spoils a capture, so that none is tried."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    tables = TableBackend(TorchKernel())
    assert kernel_for_graphs(tables, cpu) is tables.kernel
    assert kernel_for_graphs(tables, gpu) is None
    assert kernel_for_graphs(PieceBackend(attend_matmul), cpu) is None


def test_captured_passes_end_with_what_runs_them() -> None:
    """They hold memory of the device, which must not wait for Python's search for cycles."""
    model = tiny_byte_model()
    decode = DecodeModel.of(model, model.new_cache(64), TorchKernel())
    graphs = StepGraphs(decode, Visibility.SAME_STEP, Capturer(model.device), Timeline())
    seen = weakref.ref(graphs)
    del graphs
    assert seen() is None
