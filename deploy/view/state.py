"""What a view knows of a run: immutable, so that a drawing thread never sees half an event."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from hogwild_dist.deploy.view.base import ViewInfo
from hogwild_dist.deploy.view.text import Piece, harmless
from hogwild_dist.session.events import (
    Answer,
    Event,
    Interjected,
    Joined,
    ParagraphEnd,
    Refused,
    SessionEnd,
    Text,
    WorkerStop,
)
from hogwild_dist.team.answer_policy import team_answer


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker.

    Attributes:
        name: harmless; empty while nobody of this index is known.
        pieces: of the paragraph that it is writing.
        num_tokens: that it chose.
        stopped: why it stopped, or None while it goes on.
        stopped_at: when.
    """

    name: str
    pieces: tuple[Piece, ...] = ()
    num_tokens: int = 0
    stopped: str | None = None
    stopped_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A finished paragraph of a worker, or what was said from outside (None)."""

    worker: int | None
    index: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamState:
    """All that happened so far. Times are seconds of any one clock.

    Attributes:
        workers: in team order.
        history: finished paragraphs in the order in which they ended.
        step: the newest.
        began: when the first event came.
        now: when the newest came.
        ended: why the session ended, or None while it goes on.
        answers: announced or stated, in order.
        refusals: what could not be done, in order.
        asked: whether the team is to come to an answer.
    """

    workers: tuple[WorkerState, ...]
    history: tuple[Paragraph, ...] = ()
    step: int = 0
    began: float | None = None
    now: float = 0.0
    ended: str | None = None
    answers: tuple[Answer, ...] = ()
    refusals: tuple[str, ...] = ()
    asked: bool = False

    @classmethod
    def before(cls, about: ViewInfo) -> Self:
        """The state before the first event."""
        workers = tuple(WorkerState(harmless(name)) for name in about.names)
        return cls(workers=workers, asked=about.asked)

    @property
    def known(self) -> dict[int, WorkerState]:
        """The workers by index, without those who have a place and have not begun: finishers."""
        return {index: worker for index, worker in enumerate(self.workers) if worker.name}

    @property
    def num_tokens(self) -> int:
        """Tokens that the workers chose."""
        return sum(worker.num_tokens for worker in self.workers)

    @property
    def team_answers(self) -> list[tuple[str, str]]:
        """When the team was asked for an answer, and what it was; without one in the end, why."""
        vote = any(one.of is not None for one in self.answers)
        budgets = sorted({one.budget for one in self.answers if one.budget is not None})
        found = [
            (f"answer after {budget} steps", team_answer(self.answers, vote=vote, budget=budget))
            for budget in budgets
        ]
        found.append(("answer", team_answer(self.answers, vote=vote) or self._no_answer()))
        return [(label, harmless(answer)) for label, answer in found if answer is not None]

    def _no_answer(self) -> str | None:
        if not self.asked:
            return None
        if self.ended in (None, "cancelled"):
            return "none (cancelled)"
        if any(one.budget is None for one in self.answers):
            return "none (nobody announced one, and the finisher stated none within its tokens)"
        return "none (nobody announced one, and no finisher was asked)"

    def seconds(self, now: float | None = None) -> float:
        """How long it has taken at a time, which is the newest event's unless given."""
        if self.began is None:
            return 0.0
        return (self.now if now is None or self.ended else now) - self.began

    def after(self, event: Event, now: float) -> Self:
        """The state after one more event."""
        began = now if self.began is None else self.began
        state = replace(self, step=event.step, began=began, now=now)
        match event:
            case Text():
                state = state._with_room(event.worker, event.name)
                worker = _written(state.workers[event.worker], event)
                state = state._with_worker(event.worker, worker)
            case Joined():
                state = state._with_room(event.worker, event.name)
            case ParagraphEnd():
                worker = self.workers[event.worker]
                state = state._with_history(event.worker, event.index, worker.pieces)
                state = state._with_worker(event.worker, replace(worker, pieces=()))
            case WorkerStop():
                worker = self.workers[event.worker]
                stopped = replace(worker, stopped=in_words(event.reason), stopped_at=now)
                state = state._with_worker(event.worker, stopped)
            case Interjected():
                state = state._with_history(None, 0, (Piece(harmless(event.text), False),))
            case Refused():
                state = replace(state, refusals=(*self.refusals, harmless(event.reason)))
            case Answer():
                state = replace(state, answers=(*self.answers, event))
            case SessionEnd():
                state = replace(state, ended=in_words(event.reason))
        return state

    def _with_history(self, worker: int | None, index: int, pieces: tuple[Piece, ...]) -> Self:
        return replace(self, history=(*self.history, Paragraph(worker, index, pieces)))

    def _with_room(self, index: int, name: str) -> Self:
        """With a worker of this index, who may be new."""
        missing = index + 1 - len(self.workers)
        state = replace(self, workers=(*self.workers, *(WorkerState(""),) * missing))
        known = state.workers[index]
        return state._with_worker(index, replace(known, name=known.name or harmless(name)))

    def _with_worker(self, index: int, worker: WorkerState) -> Self:
        workers = (*self.workers[:index], worker, *self.workers[index + 1 :])
        return replace(self, workers=workers)


def in_words(reason: str) -> str:
    """A reason as people write it."""
    return harmless(reason).replace("_", " ")


def _written(worker: WorkerState, event: Text) -> WorkerState:
    chosen = len(event.token_ids) if event.chosen else 0
    pieces = _longer(worker.pieces, Piece(harmless(event.text), event.chosen))
    return replace(worker, pieces=pieces, num_tokens=worker.num_tokens + chosen)


def _longer(pieces: Sequence[Piece], new: Piece) -> tuple[Piece, ...]:
    """Pieces with one more, joined to the last where both have one origin."""
    if pieces and pieces[-1].chosen == new.chosen:
        return (*pieces[:-1], Piece(pieces[-1].text + new.text, new.chosen))
    return (*pieces, new)
