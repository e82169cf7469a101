"""Updates: what a step or a change did to a session, as plain data for other processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.trace_record import final_record, step_record
from hogwild_dist.errors import HogwildError
from hogwild_dist.session.changes import Change, ChangePhase
from hogwild_dist.session.events import Event, Refused
from hogwild_dist.session.session import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What one step or change did to a session, as plain data for other processes.

    Attributes:
        session: id of the session.
        step: number of the step, or of the last step before the change; -1 before the first step.
        events: the events, in order.
        seconds: duration of the step.
        record: the step's trace entry, if the session is recorded.
        final: the end of the trace, in the last update of a recorded session.
        error: why the session could not start, or has failed; no further updates follow.
        change: the change whose effect this is, if it is one.
        phase: when in a step the change was made.
    """

    session: int
    step: int
    events: tuple[Event, ...]
    seconds: float = 0.0
    record: dict[str, Any] | None = None
    final: dict[str, Any] | None = None
    error: HogwildError | None = None
    change: Change | None = None
    phase: ChangePhase = "before"

    @property
    def refused(self) -> bool:
        """Whether this is a change that was refused, and had no effect."""
        return any(isinstance(event, Refused) for event in self.events)


def opening_update(session: Session, events: Sequence[Event]) -> Update:
    """Return the update with the events of a new session's first texts."""
    return _update(session, -1, tuple(events))


def change_update(
    session: Session,
    events: Sequence[Event],
    change: Change | None = None,
    phase: ChangePhase = "before",
) -> Update:
    """Return the update with the events of a change to a running session, or of its end."""
    update = _update(session, session.step - 1, tuple(events))
    return replace(update, change=change, phase=phase)


def updates(outcome: StepOutcome) -> Iterator[Update]:
    """Yield the update of each session that took part in a step."""
    for one in outcome.sessions:
        if not one.feeds:  # it ended without a forward
            yield change_update(one.session, one.events)
            continue
        recorded = one.session.recorded and one.session.failure is None
        record = step_record(one, outcome.seconds) if recorded else None
        yield _update(one.session, one.index, one.events, outcome.seconds, record)


def _update(
    session: Session,
    step: int,
    events: tuple[Event, ...],
    seconds: float = 0.0,
    record: dict[str, Any] | None = None,
) -> Update:
    final = final_record(session) if session.recorded and session.end_reason else None
    return Update(
        session=session.id,
        step=step,
        events=events,
        seconds=seconds,
        record=record,
        final=final,
        error=session.failure,
    )
