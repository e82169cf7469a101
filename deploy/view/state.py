"""State of a run in a view: immutable, so that a drawing thread never sees half an event."""

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
    """State of one worker.

    Attributes:
        name: printable name; empty until a worker of this index is known.
        pieces: text of the paragraph that it is writing.
        num_tokens: number of tokens that it chose.
        stopped: reason why it stopped; None while it runs.
        stopped_at: time when it stopped.
    """

    name: str
    pieces: tuple[Piece, ...] = ()
    num_tokens: int = 0
    stopped: str | None = None
    stopped_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A finished paragraph of a worker, or a message from outside the team (worker is None)."""

    worker: int | None
    index: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamState:
    """State of a run after some events. Times are seconds of one clock.

    Attributes:
        workers: states of the workers, in team order.
        history: finished paragraphs, in the order in which they ended.
        step: number of the newest step.
        began: time of the first event.
        now: time of the newest event.
        ended: reason why the session ended; None while it runs.
        left: what became of a session that was left before its end was shown.
        answers: announced and stated answers, in order.
        refusals: reasons of refused commands, in order.
        asked: whether the team is asked for an answer.
    """

    workers: tuple[WorkerState, ...]
    history: tuple[Paragraph, ...] = ()
    step: int = 0
    began: float | None = None
    now: float = 0.0
    ended: str | None = None
    left: str = ""
    answers: tuple[Answer, ...] = ()
    refusals: tuple[str, ...] = ()
    asked: bool = False

    @classmethod
    def before(cls, about: ViewInfo) -> Self:
        """Return the state before the first event."""
        workers = tuple(WorkerState(harmless(name)) for name in about.names)
        return cls(workers=workers, asked=about.asked)

    @property
    def known(self) -> dict[int, WorkerState]:
        """Workers that have begun, by index; a finisher has an index before it begins."""
        return {index: worker for index, worker in enumerate(self.workers) if worker.name}

    @property
    def outcome(self) -> str:
        """Why the session ended, or what became of it."""
        return self.ended or self.left

    def stop_reason(self, worker: WorkerState) -> str:
        """Return why a worker stopped, for a run that is over."""
        return worker.stopped or self.ended or "not stopped"

    @property
    def num_tokens(self) -> int:
        """Number of tokens that the workers chose."""
        return sum(worker.num_tokens for worker in self.workers)

    @property
    def team_answers(self) -> list[tuple[str, str]]:
        """Label and text of each answer; without a final answer, the reason."""
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
            return f"none ({self.outcome})"
        if any(one.budget is None for one in self.answers):
            return "none (nobody announced one, and the finisher stated none within its tokens)"
        return "none (nobody announced one, and no finisher was asked)"

    def seconds(self, now: float | None = None) -> float:
        """Return the duration of the run up to a time; None is the time of the newest event."""
        if self.began is None:
            return 0.0
        return (self.now if now is None or self.ended else now) - self.began

    def after(self, event: Event, now: float) -> Self:
        """Return the state after one more event."""
        began = now if self.began is None else self.began
        state = replace(self, step=event.step, began=began, now=now)
        match event:
            case Text():
                state = state._with_known_worker(event.worker, event.name)
                worker = _written(state.workers[event.worker], event)
                state = state._with_worker(event.worker, worker)
            case Joined():
                state = state._with_known_worker(event.worker, event.name)
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

    def _with_known_worker(self, index: int, name: str) -> Self:
        """Return the state with a worker of this index, which may be new."""
        missing = index + 1 - len(self.workers)
        state = replace(self, workers=(*self.workers, *(WorkerState(""),) * missing))
        known = state.workers[index]
        return state._with_worker(index, replace(known, name=known.name or harmless(name)))

    def _with_worker(self, index: int, worker: WorkerState) -> Self:
        workers = (*self.workers[:index], worker, *self.workers[index + 1 :])
        return replace(self, workers=workers)


def in_words(reason: str) -> str:
    """Return a reason in plain words."""
    return harmless(reason).replace("_", " ")


def _written(worker: WorkerState, event: Text) -> WorkerState:
    chosen = len(event.token_ids) if event.chosen else 0
    pieces = _longer(worker.pieces, Piece(harmless(event.text), event.chosen))
    return replace(worker, pieces=pieces, num_tokens=worker.num_tokens + chosen)


def _longer(pieces: Sequence[Piece], new: Piece) -> tuple[Piece, ...]:
    """Return the pieces and a new one, merged with the last if both have the same origin."""
    if pieces and pieces[-1].chosen == new.chosen:
        return (*pieces[:-1], Piece(pieces[-1].text + new.text, new.chosen))
    return (*pieces, new)
