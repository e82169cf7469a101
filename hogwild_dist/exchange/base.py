"""The interface between a step's computation and the other shards.

Every rank uses an exchange in this order in each step::

    begin(plan)            what every rank feeds; after the forward if visibility is `overlapped`
    send_layer(layer)      in the forward, only if visibility is `same-step`
    receive_layer(layer)   in the forward, before attention reads the peers' keys
    post(report)           the outcome of this rank's rows
    collect()              the outcome of all rows, in the order in which steps were posted
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hogwild_dist.config import Visibility


@dataclass(frozen=True, slots=True)
class LogitsSummary:
    """The part of a row's logits that a trace records.

    Attributes:
        top_ids: tokens with the largest logits, in descending order.
        top_logits: logits of these tokens.
        logsumexp: log-sum-exp of all logits.
        margin: difference between the two largest allowed logits.
        greedy: token with the largest allowed logit.
    """

    top_ids: tuple[int, ...]
    top_logits: tuple[float, ...]
    logsumexp: float
    margin: float
    greedy: int


@dataclass(frozen=True, slots=True)
class RowReport:
    """The outcome of one row: all that a peer needs to apply it.

    Attributes:
        session: id of the session.
        worker: index of the worker in its session.
        token_id: the chosen token, or None if the worker has more text to feed first.
        summary: summary of the row's logits, if the session is recorded.
        failed: whether the session must end, since no token can be chosen for the row.
    """

    session: int
    worker: int
    token_id: int | None
    summary: LogitsSummary | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What every rank feeds in a step; all ranks derive the same plan, so no size is sent.

    Attributes:
        slots: for each rank, this process's slab slots of the tokens that the rank feeds.
        num_rows: for each rank, the number of its rows.
        num_recorded: for each rank, the number of its rows with a summary of the logits.
    """

    slots: tuple[tuple[int, ...], ...]
    num_rows: tuple[int, ...]
    num_recorded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One rank's report at the end of a step.

    Attributes:
        step: number of the step.
        command: the highest command id up to which this rank holds every command.
        state: fingerprint of the sessions before the step, which must be equal on all ranks.
        reports: outcomes of this rank's rows.
    """

    step: int
    command: int
    state: int
    reports: tuple[RowReport, ...]


@dataclass(frozen=True, slots=True)
class AgreedStep:
    """The outcome of a step that all ranks agree on.

    Attributes:
        step: number of the step.
        command: the highest command id up to which every rank holds every command.
        reports: outcomes of all rows, ordered by session and worker.
    """

    step: int
    command: int
    reports: tuple[RowReport, ...]


class LayerExchange(Protocol):
    """Carries new K and V layer by layer, under `same-step` visibility."""

    def send_layer(self, layer: int) -> None:
        """Send this rank's new K and V of `layer` from the cache."""

    def receive_layer(self, layer: int) -> None:
        """Wait until the peers' new K and V of `layer` are in the cache."""


class Exchange(LayerExchange, Protocol):
    """Carries new K and V, and the outcome of a step, to every shard.

    All methods raise `errors.ExchangeError` if a peer is lost, too late or disagrees.

    Attributes:
        visibility: when rows see the others' new tokens; fixed for the exchange's life.
        rank: rank of this process in the group.
        world_size: number of processes in the group.
    """

    visibility: Visibility
    rank: int
    world_size: int

    def begin(self, plan: StepPlan) -> None:
        """Begin a step in which the ranks feed what the plan says."""

    def post(self, report: StepReport) -> None:
        """Send this rank's report of the step that was begun."""

    def collect(self) -> AgreedStep:
        """Wait for all reports of the oldest step that was posted and not collected."""

    def share(self, slots: Sequence[Sequence[int]]) -> None:
        """Send K and V of some slots of each rank to all ranks, outside of a step.

        Args:
            slots: for each rank, this process's slots of the tokens that the rank computed.
        """


def combine_reports(step_reports: Sequence[StepReport]) -> AgreedStep:
    """Return the agreed step that follows from all ranks' reports."""
    reports = [report for one in step_reports for report in one.reports]
    return AgreedStep(
        step=step_reports[0].step,
        command=min(one.command for one in step_reports),
        reports=tuple(sorted(reports, key=lambda report: (report.session, report.worker))),
    )
