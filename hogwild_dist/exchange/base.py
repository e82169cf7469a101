"""The seam between a step's computation and the other shards.

A step of the engine uses an exchange in this order, the same on every rank::

    begin(plan)            who feeds what; under `overlapped`, after the forward
    send_layer(layer)      within the forward, only where visibility is `same-step`
    receive_layer(layer)   likewise, before attention reads what the peers feed
    post(report)             what came of this rank's rows
    collect()              what came of everybody's, in the order in which steps were posted
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hogwild_dist.config import Visibility


@dataclass(frozen=True, slots=True)
class LogitsSummary:
    """What a trace keeps of one row's logits.

    Attributes:
        top_ids: tokens of the largest logits, falling.
        top_logits: theirs.
        logsumexp: over all logits.
        margin: gap between the two largest allowed ones.
        greedy: the token of the largest allowed one.
    """

    top_ids: tuple[int, ...]
    top_logits: tuple[float, ...]
    logsumexp: float
    margin: float
    greedy: int


@dataclass(frozen=True, slots=True)
class RowReport:
    """What became of one row: all that a peer needs to stay in step.

    Attributes:
        session: id of the session.
        worker: index of the worker in its session.
        token_id: the token chosen, or None where the row has more text to feed first.
        summary: of its logits, where the session is recorded.
    """

    session: int
    worker: int
    token_id: int | None
    summary: LogitsSummary | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What every rank feeds in a step; all ranks agree on it before anything travels.

    Attributes:
        slots: for each rank, this process's slab slots of the tokens that the rank feeds.
        num_rows: for each rank, its rows.
        num_recorded: for each rank, its rows whose logits are summarised.
    """

    slots: tuple[tuple[int, ...], ...]
    num_rows: tuple[int, ...]
    num_recorded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one rank tells the others at the end of a step.

    Attributes:
        step: number of the step.
        command: highest command id up to which this rank holds all.
        state: fingerprint of the sessions before the step, which all ranks must share.
        reports: of this rank's rows.
    """

    step: int
    command: int
    state: int
    reports: tuple[RowReport, ...]


@dataclass(frozen=True, slots=True)
class AgreedStep:
    """What all ranks know of a step.

    Attributes:
        step: number of the step.
        command: highest command id that every rank holds.
        reports: of all rows, ordered by session and worker.
    """

    step: int
    command: int
    reports: tuple[RowReport, ...]


class Exchange(Protocol):
    """Brings new K and V, and the outcome of a step, to every shard.

    Attributes:
        visibility: fixed when the exchange starts.
        rank: of this process in the group.
        world_size: processes in the group.

    All methods raise `errors.ExchangeError` where a peer is lost, late or of another mind.
    """

    visibility: Visibility
    rank: int
    world_size: int

    def begin(self, plan: StepPlan) -> None:
        """Take in who feeds what."""

    def send_layer(self, layer: int) -> None:
        """Under `same-step`: this rank's new K and V of `layer` are in the cache; send them."""

    def receive_layer(self, layer: int) -> None:
        """Under `same-step`: return once the peers' new K and V of `layer` are in the cache."""

    def post(self, report: StepReport) -> None:
        """Send this rank's part of the step that was begun."""

    def collect(self) -> AgreedStep:
        """Wait for everybody's part of the oldest step that was posted and not collected."""

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Bring K and V of some slots of each rank to all, outside of a step.

        Args:
            slots: for each rank, this process's slots of the tokens that the rank computed.
        """


def combine_reports(step_reports: Sequence[StepReport]) -> AgreedStep:
    """Put what all ranks said of one step together."""
    reports = [report for one in step_reports for report in one.reports]
    return AgreedStep(
        step=step_reports[0].step,
        command=min(one.command for one in step_reports),
        reports=tuple(sorted(reports, key=lambda report: (report.session, report.worker))),
    )
