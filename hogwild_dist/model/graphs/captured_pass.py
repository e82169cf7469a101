"""`CapturedPass`: a pass on fixed buffers that can be repeated, as CUDA graphs or plain calls."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from hogwild_dist.exchange.base import LayerExchange

Forward = Callable[[LayerExchange | None], Tensor]
"""A forward pass from and to fixed buffers; its argument brings the peers' keys of each layer."""

WARM_UP_ROUNDS = 2
"""Passes before a capture, in which libraries compile kernels and reserve their workspaces."""


class CapturedPass(Protocol):
    """A forward pass that can be repeated."""

    def run(self) -> Tensor:
        """Repeat the pass and return its result, which the next repetition overwrites."""
        ...


Capture = Callable[[Forward], CapturedPass]
"""Captures a forward pass."""


class PlainPass:
    """Calls the forward pass.

    Args:
        forward: the forward pass.
        peers: brings the peers' keys of each layer; None if no peer takes part.
    """

    def __init__(self, forward: Forward, peers: LayerExchange | None) -> None:
        self._forward = partial(forward, peers)

    def run(self) -> Tensor:
        """Call the forward pass."""
        return self._forward()


class GraphPass:
    """Replays CUDA graphs of a forward pass.

    Where the pass sends or receives the keys of a layer, one graph ends and the next begins, and
    the exchange is called between them.

    Args:
        forward: the forward pass; the buffers that it reads hold nothing but dummies.
        peers: brings the peers' keys of each layer; None if no peer takes part.
        stream: the stream on which all passes are captured.
        pool: memory pool that all passes share, from `torch.cuda.graph_pool_handle`.

    Raises:
        RuntimeError: the pass cannot be captured, or memory does not suffice.
    """

    def __init__(
        self,
        forward: Forward,
        peers: LayerExchange | None,
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._peers = peers
        self._pool = pool
        self._pieces: list[Callable[[], None]] = []
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_ROUNDS):
                forward(None if peers is None else _NoPeers())
            torch.cuda.synchronize()
            torch.cuda.empty_cache()  # during a capture, the allocator gives no memory back
            self._result = self._capture(forward)
        torch.cuda.current_stream().wait_stream(stream)

    def run(self) -> Tensor:
        """Replay the graphs."""
        for piece in self._pieces:
            piece()
        return self._result

    def send_layer(self, layer: int) -> None:
        """Cut the capture where the keys of a layer are sent."""
        self._cut("send_layer", layer)

    def receive_layer(self, layer: int) -> None:
        """Cut the capture where the keys of a layer must have arrived."""
        self._cut("receive_layer", layer)

    def _capture(self, forward: Forward) -> Tensor:
        self._open()
        try:
            result = forward(None if self._peers is None else self)
            self._close()
        except BaseException:
            self._give_up()
            raise
        return result

    def _give_up(self) -> None:
        """End a capture that may be invalid already.

        For an invalid one, `capture_end` raises before it tells the allocator, which would then
        refuse to empty its cache for as long as the process lives.
        """
        with suppress(RuntimeError):
            self._graph.capture_end()
        with suppress(RuntimeError):  # raised if the allocator has been told
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)

    def _cut(self, method: str, layer: int) -> None:
        self._close()
        self._pieces.append(partial(getattr(self._peers, method), layer))
        self._open()

    def _open(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as NCCL's watchdog, may call CUDA meanwhile.
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def _close(self) -> None:
        self._graph.capture_end()
        self._pieces.append(self._graph.replay)


class _NoPeers:
    """Peers that bring nothing, for the passes before a capture."""

    def send_layer(self, layer: int) -> None:
        """Send nothing."""

    def receive_layer(self, layer: int) -> None:
        """Receive nothing."""
