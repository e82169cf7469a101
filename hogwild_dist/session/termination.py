"""Termination: what ends a team's work, and whether finishers state an answer first."""

from collections.abc import Sequence

from hogwild_dist.session.answer_collector import AnswerCollector
from hogwild_dist.session.events import Event, SessionEnd, WorkerStop
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.session.worker import Worker, team_of
from hogwild_dist.session.writer import Writer

FAILED = "failed"
"""Why a session ended that an error ended."""


class Termination:
    """Decides when a session ends; the same on every shard.

    Args:
        spec: specification of the session.
        workers: workers of the session; the list grows when a worker joins.
        answers: the session's answers.
        writer: starts and stops workers.
    """

    def __init__(
        self, spec: SessionSpec, workers: Sequence[Worker], answers: AnswerCollector, writer: Writer
    ) -> None:
        self._spec = spec
        self._workers = workers
        self._answers = answers
        self._writer = writer
        self._cancelled: str | None = None
        self.reason: str | None = None
        """Why the session ended, or None while it is running."""

    def cancel(self, reason: str) -> None:
        """End the session with the next step that is applied."""
        self._cancelled = reason

    def end(self, reason: str, step: int) -> list[Event]:
        """Stop all workers; their text is kept."""
        events = self._stop_all(reason, step)
        self.reason = reason
        return [*events, SessionEnd(step=step, reason=reason)]

    def break_off(self, step: int) -> list[Event]:
        """Stop all workers after an error in the rules, which may have left any state.

        Text that is not shown yet stays hidden: it may be what the error is about.
        """
        self.reason = FAILED
        stops: list[Event] = [
            WorkerStop(step=step, worker=worker.index, name=worker.spec.name, reason=FAILED)
            for worker in self._workers
            if not worker.stopped
        ]
        return [*stops, SessionEnd(step=step, reason=FAILED)]

    def run_out(self, reason: str, step: int) -> list[Event]:
        """Stop the team; finishers, if the session has any, state the answer first."""
        if self._answers.asking:
            return self.end(reason, step)
        events = self._stop_all(reason, step)
        self._answers.closing = reason
        return events + (self._ask(None, step) or self.end(reason, step))

    def end_due(self, step: int) -> list[Event]:
        """End the session or switch to the finishers, if that is due after a step.

        Args:
            step: number of the next step.
        """
        if self.reason:
            return []
        if self._cancelled is not None:
            return self.end(self._cancelled, step)
        if self._answers.asking:
            return self._answered(step)
        if self._answers.announced:
            return self.end("answered", step)
        return self._running_out(step)

    def _running_out(self, step: int) -> list[Event]:
        """End the team if it has stopped or is out of tokens; ask finishers at a budget."""
        team = team_of(self._workers)
        total = sum(worker.num_chosen for worker in team)
        if self._spec.max_total_tokens is not None and total >= self._spec.max_total_tokens:
            return self.run_out("max_total_tokens", step)
        awaited = [self._workers[index] for index in self._spec.until] or team
        if not any(worker.active for worker in awaited):
            return self.run_out("all_stopped", step)
        budget = self._answers.due_budget()
        return [] if budget is None else self._ask(budget, step)

    def _ask(self, budget: int | None, step: int) -> list[Event]:
        """Let the finishers write while the team waits; return no event if none has to write."""
        asked = self._answers.ask(budget)
        return [self._writer.begin_again(worker, step) for worker in asked]

    def _answered(self, step: int) -> list[Event]:
        """Let the team continue or end the session, once the finishers are done."""
        if any(worker.active for worker in self._answers.finishers):
            return []
        closing = self._answers.stop_asking()
        return [] if closing is None else self.end(closing, step)

    def _stop_all(self, reason: str, step: int) -> list[Event]:
        active = [worker for worker in self._workers if worker.active]
        return [event for worker in active for event in self._writer.stop(worker, reason, step)]
