"""Answers of a session: announced by workers, or stated by finishers.

Finishers are workers that write only to state an answer. The team waits meanwhile, so an answer at
a budget does not change what the team writes afterwards (paper section 4, budgets).
"""

from collections.abc import Mapping, Sequence

from hogwild_dist.kvcache.page_allocator import ceil_div
from hogwild_dist.session.answer_readers import new_reader
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.events import Answer
from hogwild_dist.session.spec import AnswerRule
from hogwild_dist.session.worker import TokenEffect, Worker

NOT_ASKED = "not_asked"
"""Finish reason of a finisher that is not writing."""


class AnswerCollector:
    """The state of a session's answers; the same on every shard.

    Args:
        rule: the session's answer rule; None asks for no answer.
        finishers: workers that state an answer, in the order of the rule.
    """

    def __init__(self, rule: AnswerRule | None, finishers: Sequence[Worker]) -> None:
        self._rule = rule
        self.finishers = finishers
        for worker in finishers:
            worker.finisher, worker.finish_reason, worker.stopped = True, NOT_ASKED, True
        self.asking = False
        """Whether the finishers are writing while the team waits."""
        self.side = 0
        """The side that writes, as a count: it rises whenever team and finishers change places."""
        self.announced = False
        """Whether the team's answer has been announced."""
        self.closing: str | None = None
        """Why the session ends when the finishers are done, or None."""
        self.steps = 0
        """Number of the team's steps."""
        self._answered: set[int] = set()
        self._budget: int | None = None
        self._budgets = list(rule.budgets) if rule is not None else []

    def count_step(self) -> None:
        """Count a step, if the team is writing."""
        self.steps += not self.asking

    def answer_of(self, worker: Worker, newest: int) -> str | None:
        """Return the answer that a worker's newest characters complete, if its answers count."""
        rule = self._rule
        if rule is None or (rule.by and worker.index not in rule.by and not worker.finisher):
            return None
        worker.answer_reader = worker.answer_reader or new_reader(rule.form)
        return worker.answer_reader.read(worker.paragraph_text, newest)

    def stated(self, worker: Worker) -> str | None:
        """Return the text of a finisher that has stopped, if the answer is free text."""
        if not worker.finisher or self._rule is None or self._rule.form.kind is not FormKind.TEXT:
            return None
        return worker.text[worker.num_first_chars :].strip() or None

    def stops_alone(self, worker: Worker) -> bool:
        """Return whether an answer stops only its worker."""
        return worker.finisher or (self._rule is not None and self._rule.each)

    def apply_to_team(self, worker: Worker, effect: TokenEffect, step: int) -> list[Answer]:
        """Apply the answer that a worker's newest token completed."""
        if worker.finisher:
            asked = effect.stop is not None
            return [self._event(worker, effect.answer, step)] if asked else []
        if effect.answer is None:
            return []
        self._answered.add(worker.index)
        self.announced = self.announced or not self.stops_alone(worker)
        return [self._event(worker, effect.answer, step)]

    def due_budget(self) -> int | None:
        """Return a budget that the team has reached; each is returned once."""
        if not self._budgets or self.steps < self._budgets[0]:
            return None
        return self._budgets.pop(0)

    def ask(self, budget: int | None) -> list[Worker]:
        """Let the finishers write, except for workers that have announced their answer.

        Args:
            budget: the budget that the team has reached, or None at the end.

        Returns:
            The finishers that write.
        """
        if self._rule is None:
            return []
        pairs = zip(self._rule.finishers, self.finishers, strict=True)
        asked = [worker for one, worker in pairs if one.of not in self._answered]
        self.asking, self._budget = bool(asked), budget
        self.side += self.asking
        return asked

    def stop_asking(self) -> str | None:
        """Let the team write again; return why the session ends instead, or None."""
        self.asking = False
        self.side += 1
        return self.closing

    def longest_views(self, lengths: Mapping[str, int]) -> list[int]:
        """Return the length of each finisher's view at its end, if it began to write now.

        Args:
            lengths: block name -> number of tokens.
        """
        if self.asking:
            return []
        return [
            sum(lengths[name] for name in worker.spec.view[:-1]) + _longest_text(worker)
            for worker in self.finishers
        ]

    def pages(self, page_tokens: int) -> int:
        """Return how many more pages the finishers may take, if they began to write now.

        The pages of their last answer are released before they begin again.
        """
        waiting = () if self.asking else self.finishers
        most = (_longest_text(worker) // page_tokens + 1 for worker in waiting)
        held = (ceil_div(worker.block.committed, page_tokens) for worker in waiting)
        return sum(most) - sum(held)

    def _event(self, worker: Worker, answer: str | None, step: int) -> Answer:
        of: int | None = None
        if self._rule is not None and worker.finisher:
            of = self._rule.finishers[self.finishers.index(worker)].of
        elif self.stops_alone(worker):
            of = worker.index
        return Answer(
            step=step,
            worker=worker.index,
            name=worker.spec.name,
            of=of,
            answer=answer,
            after=self.steps,
            budget=self._budget if worker.finisher else None,
        )


def _longest_text(worker: Worker) -> int:
    return len(worker.spec.first_input) + (worker.spec.max_tokens or 0) + 1
