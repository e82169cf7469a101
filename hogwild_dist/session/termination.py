"""How a team ends: what ends it, and who says something in the end."""

from collections.abc import Sequence

from hogwild_dist.session.answer_collector import AnswerCollector
from hogwild_dist.session.events import Event, SessionEnd
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.session.worker import Worker, team_of
from hogwild_dist.session.writer import Writer


class Termination:
    """The state of a session's way to its end; the same on every shard.

    Args:
        spec: that the session started from.
        workers: of the session; a list that grows when one joins.
        answers: tells who states an answer, and when.
        writer: lets workers begin and stop.
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
        """Why the session has ended, None while it goes on."""

    def cancel(self, reason: str) -> None:
        """Let the session end when it is next looked at."""
        self._cancelled = reason

    def end(self, reason: str, step: int) -> list[Event]:
        """Stop everybody; all text is kept."""
        events = self._stop_all(reason, step)
        self.reason = reason
        return [*events, SessionEnd(step=step, reason=reason)]

    def run_out(self, reason: str, step: int) -> list[Event]:
        """Stop the team for good; the finishers, if there are any, state the answer first."""
        if self._answers.asking:
            return self.end(reason, step)
        events = self._stop_all(reason, step)
        self._answers.closing = reason
        return events + (self._ask(None, step) or self.end(reason, step))

    def look(self, step: int) -> list[Event]:
        """End what is due to end after a step, or let the finishers begin.

        Args:
            step: that comes next.
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
        """The end of the team's steps or tokens, or a budget."""
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
        """Let the finishers write; the team waits. Empty where nobody needs to be asked."""
        asked = self._answers.ask(budget)
        return [self._writer.begin_again(worker, step) for worker in asked]

    def _answered(self, step: int) -> list[Event]:
        """Once the finishers are done, the team goes on or the session ends."""
        if any(worker.active for worker in self._answers.finishers):
            return []
        closing = self._answers.stop_asking()
        return [] if closing is None else self.end(closing, step)

    def _stop_all(self, reason: str, step: int) -> list[Event]:
        going_on = [worker for worker in self._workers if worker.active]
        return [event for worker in going_on for event in self._writer.stop(worker, reason, step)]
