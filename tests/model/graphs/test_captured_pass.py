"""How a forward pass is cut into graphs; the graphs themselves need a GPU."""

from contextlib import contextmanager
from itertools import count
from typing import Any, ClassVar

import pytest
import torch

from hogwild_dist.model.graphs.captured_pass import WARM_UP_ROUNDS, GraphPass
from hogwild_dist.model.graphs.capturer import Capturer

HISTORY: list[str] = []
HANDLES = count(1)


class Stream:
    """A stand-in for a CUDA stream."""

    def wait_stream(self, other: Any) -> None:
        pass


class Allocator:
    """A stand-in for PyTorch's allocator: it knows the pools of captures that have not ended."""

    underway: ClassVar[list[Any]] = []

    @staticmethod
    def end(device: int, pool: Any) -> None:
        if pool not in Allocator.underway:
            raise RuntimeError("not currently recording to mempool_id")
        Allocator.underway.remove(pool)


class Graph:
    """A stand-in for a CUDA graph, which notes what it captures."""

    capturing: "Graph | None" = None

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        assert Graph.capturing is None
        assert pool not in Allocator.underway, "already recording to mempool_id"
        Allocator.underway.append(pool)
        self.pool = pool
        Graph.capturing = self
        self.operations: list[str] = []

    def capture_end(self) -> None:
        if Graph.capturing is not self:
            raise RuntimeError("operation not permitted")
        Graph.capturing = None
        if "a wait for the device" in self.operations:
            raise RuntimeError("operation failed due to a previous error during capture")
        Allocator.end(0, self.pool)

    def replay(self) -> None:
        HISTORY.append("+".join(self.operations))


class Peers:
    """Notes what it is asked to carry."""

    def send_layer(self, layer: int) -> None:
        HISTORY.append(f"send {layer}")

    def receive_layer(self, layer: int) -> None:
        HISTORY.append(f"receive {layer}")


def operation(name: str) -> None:
    """What a kernel launch does: it runs, or is captured."""
    if Graph.capturing is None:
        HISTORY.append(name)
    else:
        Graph.capturing.operations.append(name)


def two_layers(peers: Any) -> torch.Tensor:
    for layer in range(2):
        operation(f"keys {layer}")
        if peers is not None:
            peers.send_layer(layer)
        operation(f"own {layer}")
        if peers is not None:
            peers.receive_layer(layer)
        operation(f"rest {layer}")
    return torch.zeros(1)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def on(stream: Stream):
        yield

    for name, stand_in in (
        ("CUDAGraph", Graph), ("stream", on), ("current_stream", Stream),
        ("synchronize", lambda: None), ("current_device", lambda: 0),
        ("graph_pool_handle", lambda: (0, next(HANDLES))), ("Stream", Stream),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", Allocator.end, raising=False)
    HISTORY.clear()
    Allocator.underway.clear()
    Graph.capturing = None


def test_a_pass_without_peers_is_one_graph() -> None:
    captured = GraphPass(two_layers, None, Stream(), None)
    one_pass = ["keys 0", "own 0", "rest 0", "keys 1", "own 1", "rest 1"]
    assert one_pass * WARM_UP_ROUNDS == HISTORY
    HISTORY.clear()
    captured.run()
    assert ["+".join(one_pass)] == HISTORY


def test_peers_are_called_between_graphs_and_only_when_they_are_replayed() -> None:
    captured = GraphPass(two_layers, Peers(), Stream(), None)
    assert not any("send" in one or "receive" in one for one in HISTORY)
    HISTORY.clear()
    result = [captured.run(), captured.run()]
    assert result[0] is result[1]
    assert HISTORY == 2 * [
        "keys 0", "send 0", "own 0", "receive 0",
        "rest 0+keys 1", "send 1", "own 1", "receive 1", "rest 1",
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["an error of Python", "a wait for the device"])
def test_a_failed_capture_ends_and_the_next_one_succeeds(what: str) -> None:
    """`capture_end` of a capture that a wait has spoiled raises before it tells the allocator."""

    def fail(peers: Any) -> torch.Tensor:
        operation(what)
        if Graph.capturing is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.zeros(1)

    capturer = Capturer(torch.device("cuda"))
    with pytest.raises(RuntimeError, match="not permitted"):
        capturer.capture(fail)
    assert Graph.capturing is None
    assert not Allocator.underway
    capturer.capture(two_layers)


def test_a_wait_that_only_the_end_of_a_capture_reports_is_an_error_too() -> None:
    def wait(peers: Any) -> torch.Tensor:
        operation("a wait for the device")
        return torch.zeros(1)

    with pytest.raises(RuntimeError, match="previous error"):
        Capturer(torch.device("cuda")).capture(wait)
    assert not Allocator.underway
