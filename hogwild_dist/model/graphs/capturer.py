"""`Capturer`: captures passes on a device, and says in the log what cannot be captured."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from hogwild_dist.errors import first_line
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.model.graphs.captured_pass import (
    CapturedPass,
    Forward,
    GraphPass,
    PlainPass,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Capturer:
    """Captures the passes of one model; on a GPU they share a stream and a memory pool.

    Args:
        device: device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        if self._on_gpu:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def capture(self, forward: Forward, peers: LayerExchange | None = None) -> CapturedPass:
        """Return a pass that can be repeated: CUDA graphs on a GPU, plain calls on a CPU.

        Args:
            forward: the pass that is repeated.
            peers: brings the peers' keys of each layer; None if no peer takes part.

        Raises:
            RuntimeError: the pass cannot be captured, or memory does not suffice.
        """
        if not self._on_gpu:
            return PlainPass(forward, peers)
        try:
            return GraphPass(forward, peers, self._stream, self._pool)
        except BaseException:
            # The allocator of pinned memory may still hold the pool for a capture.
            self._pool = torch.cuda.graph_pool_handle()
            raise


def attempt(what: str, make: Callable[[], T]) -> T | None:
    """Return what `make` returns; None, with a warning, if it cannot be captured.

    Args:
        what: what is captured, at the beginning of a sentence.
        make: captures passes.
    """
    try:
        return make()
    except Exception as error:  # too little memory, or whatever a compiler or driver raises
        reason = first_line(error)
        log.warning("%s cannot be captured as a CUDA graph, and run without: %s", what, reason)
        return None
