"""How a session comes to an answer: who announces one, and who states one when time is short.

Finishers are workers that write only while they are asked; the team waits meanwhile, so that an
answer at a budget changes nothing of what the team writes afterwards (paper section 4: budgets).
"""

from collections.abc import Mapping, Sequence

from hogwild_dist.session.answers import FormKind, completed_answer
from hogwild_dist.session.events import Answer
from hogwild_dist.session.spec import AnswerRule
from hogwild_dist.session.worker import TokenEffect, Worker

NOT_ASKED = "not_asked"
"""Why a finisher does not write."""


class AnswerCollector:
    """The state of a session's way to its answer; the same on every shard.

    Args:
        rule: None where nobody asks for an answer.
        finishers: the workers that state one, in the order of the rule.
    """

    def __init__(self, rule: AnswerRule | None, finishers: Sequence[Worker]) -> None:
        self._rule = rule
        self.finishers = finishers
        for worker in finishers:
            worker.finisher, worker.finish_reason = True, NOT_ASKED
        self.asking = False
        """Whether the finishers write and the team waits."""
        self.side = 0
        """How often the finishers and the team have taken turns to write."""
        self.announced = False
        """Whether the team has its answer."""
        self.closing: str | None = None
        """Why the session ends once the finishers are done."""
        self.steps = 0
        """Steps of the team."""
        self._answered: set[int] = set()
        self._budget: int | None = None
        self._budgets = list(rule.budgets) if rule is not None else []

    def count_step(self) -> None:
        """A step was taken by whoever writes now."""
        self.steps += not self.asking

    def answer_of(self, worker: Worker, newest: int) -> str | None:
        """The answer that a worker's newest characters complete, where it counts."""
        rule = self._rule
        if rule is None or (rule.by and worker.index not in rule.by and not worker.finisher):
            return None
        return completed_answer(worker.paragraph_text, newest, rule.form)

    def stated(self, worker: Worker) -> str | None:
        """The free text of a finisher that has stopped, where the answer is one."""
        if not worker.finisher or self._rule is None or self._rule.form.kind is not FormKind.TEXT:
            return None
        return worker.text[worker.num_first_chars :].strip() or None

    def stops_alone(self, worker: Worker) -> bool:
        """Whether an answer stops its worker and nobody else."""
        return worker.finisher or (self._rule is not None and self._rule.each)

    def apply_to_team(self, worker: Worker, effect: TokenEffect, step: int) -> list[Answer]:
        """What a worker's newest token says about the answer."""
        if worker.finisher:
            asked = effect.stop is not None
            return [self._event(worker, effect.answer, step)] if asked else []
        if effect.answer is None:
            return []
        self._answered.add(worker.index)
        self.announced = self.announced or not self.stops_alone(worker)
        return [self._event(worker, effect.answer, step)]

    def due_budget(self) -> int | None:
        """A budget that the team has reached, once."""
        if not self._budgets or self.steps < self._budgets[0]:
            return None
        return self._budgets.pop(0)

    def ask(self, budget: int | None) -> list[Worker]:
        """Begin to ask; those who have announced their answer are not asked again.

        Args:
            budget: that the team has reached, or None at the end.

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
        """The finishers are done; returns why the session ends, if it does."""
        self.asking = False
        self.side += 1
        return self.closing

    def longest_views(self, lengths: Mapping[str, int]) -> list[int]:
        """Tokens in each finisher's view when it will be done, were it asked now.

        Args:
            lengths: tokens of each block.
        """
        if self.asking:
            return []
        return [
            sum(lengths[name] for name in worker.spec.view[:-1]) + _longest_text(worker)
            for worker in self.finishers
        ]

    def pages(self, page_tokens: int) -> int:
        """Pages that the finishers may take, were they asked now.

        What they wrote when they were asked last is given back before they begin again.
        """
        waiting = () if self.asking else self.finishers
        most = (_longest_text(worker) // page_tokens + 1 for worker in waiting)
        held = (-(-worker.block.committed // page_tokens) for worker in waiting)
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
