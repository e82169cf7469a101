"""`StepGraphs`: runs decode steps from fixed buffers, which are made when a size is first met."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from hogwild_dist.attention.batch import Batch
from hogwild_dist.attention.tables.device_tables import build
from hogwild_dist.config import Visibility
from hogwild_dist.exchange.base import LayerExchange
from hogwild_dist.kvcache.rows import Row
from hogwild_dist.model.graphs.capturer import Capturer, attempt
from hogwild_dist.model.graphs.planner import PlannedStep, StepPlanner, Tables
from hogwild_dist.model.graphs.static_step import DecodeModel, StaticStep
from hogwild_dist.model.graphs.step_size import TOKENS, StepSize, smallest_size
from hogwild_dist.timeline import Timeline


class StepGraphs:
    """Runs decode steps from fixed buffers: on a GPU as CUDA graphs, on a CPU as plain calls.

    A step that no size holds, or whose size could not be captured, is left to the caller.

    Args:
        decode: the model, and how it attends.
        visibility: when rows see the others' new tokens.
        capturer: captures passes.
        timeline: notes what is captured and replayed.
    """

    def __init__(
        self, decode: DecodeModel, visibility: Visibility, capturer: Capturer, timeline: Timeline
    ) -> None:
        self._decode = decode
        self._planner = StepPlanner(decode.cache, visibility, partial(_tables, decode))
        self._capturer = capturer
        self._timeline = timeline
        self._steps: dict[tuple[StepSize, bool], StaticStep | None] = {}

    def plan(
        self, rows: Sequence[Row], slots: Sequence[Sequence[int]], arriving: Sequence[Row]
    ) -> PlannedStep:
        """Return the plan of a step; see `StepPlanner.plan`."""
        with self._timeline.span("plan"):
            return self._planner.plan(rows, slots, arriving)

    def run(self, planned: PlannedStep, peers: LayerExchange | None) -> Tensor | None:
        """Run a step; on a GPU the result is computed later.

        Args:
            planned: the plan of the step.
            peers: brings the peers' keys of each layer; None if no peer takes part.

        Returns:
            Logits after each row's last token, ``[num_rows, vocab_size]``; None if the step has to
            run without fixed buffers.
        """
        size = smallest_size(planned.batch.num_tokens, planned.tables.values())
        step = None if size is None else self._step(size, peers)
        if step is None:
            with self._timeline.span("no graph"):
                return None
        with self._timeline.span("replay"):
            return step.run(planned.batch, planned.tables)

    def expect(self, rows: Sequence[Row], arriving: Sequence[Row]) -> None:
        """Plan the likely next step, while the device computes; see `StepPlanner.expect`."""
        with self._timeline.span("plan ahead"):
            self._planner.expect(rows, arriving)

    def _step(self, size: StepSize, peers: LayerExchange | None) -> StaticStep | None:
        """Return the step of a size, or None if it cannot be captured."""
        key = (size, peers is not None)
        if key not in self._steps:
            with self._timeline.span("capture"):
                what = f"steps of up to {size.tokens} tokens"
                self._steps[key] = attempt(what, partial(self._new_step, size, peers))
        return self._steps[key]

    def _new_step(self, size: StepSize, peers: LayerExchange | None) -> StaticStep:
        return StaticStep(self._decode, size, partial(self._capturer.capture, peers=peers))


def _tables(decode: DecodeModel, batch: Batch) -> Tables:
    """Return the tables of a step, none if it is too large for any buffers."""
    if batch.num_tokens > TOKENS[-1]:
        return {}
    return {kind: build(batch, kind, decode.kernel) for kind in decode.kinds}
