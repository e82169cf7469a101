"""One choice of a chat completion, built from the updates of its session."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hogwild_dist.deploy.service.openai.stop_strings import StopStringFilter
from hogwild_dist.deploy.service.sessions.session_service import Opened
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.events import (
    Answer,
    Event,
    ParagraphEnd,
    SessionEnd,
    Text,
    WorkerStop,
)
from hogwild_dist.session.termination import FAILED
from hogwild_dist.team.answer_policy import FINISHER, team_answer

CUT = ("max_tokens", "step_limit", "context_limit", "cache_limit", "timeout", "cancelled")
"""Stop reasons that leave an answer incomplete."""


@dataclass(frozen=True, slots=True)
class ThoughtDelta:
    """New text of a worker's thoughts."""

    worker: str
    text: str


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """New text of the answer."""

    text: str


@dataclass(slots=True)
class Choice:
    """The state of one choice.

    Thoughts are what the workers chose, without the set beginnings of their paragraphs.

    Attributes:
        opened: session of the choice.
        stop_filter: cuts the answer at stop strings.
        by_token: whether thoughts are yielded token by token, not by finished paragraphs.
        content: answer so far.
        thoughts: worker -> all text of its thoughts.
        reasoning: finished paragraphs of all workers, each after its worker's name.
        num_thought: tokens chosen for thoughts.
        num_answer: tokens chosen for the answer.
        finish_reason: OpenAI's reason, set when the choice is complete.
        ended: whether the session has ended.
    """

    opened: Opened
    stop_filter: StopStringFilter
    by_token: bool = False
    content: str = ""
    thoughts: dict[str, str] = field(default_factory=dict)
    reasoning: str = ""
    num_thought: int = 0
    num_answer: int = 0
    finish_reason: str | None = None
    ended: bool = False
    _started: bool = False
    """Whether the answer has text that is not blank, including text held back."""
    _stop: str = ""
    _unfinished: dict[str, str] = field(default_factory=dict)
    """Worker -> its thoughts since its last finished paragraph."""
    _answers: list[Answer] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the choice is complete."""
        return self.finish_reason is not None

    @property
    def num_chosen(self) -> int:
        """Number of chosen tokens, including thoughts."""
        return self.num_thought + self.num_answer

    def apply(self, update: Update) -> Iterator[ThoughtDelta | AnswerDelta]:
        """Apply an update; yield the new text for the client."""
        for event in update.events:
            self.ended = self.ended or isinstance(event, SessionEnd)
            if not self.done:
                yield from self._event(event)
                if self.done:
                    yield from self._rest_of_thoughts()

    def _event(self, event: Event) -> Iterator[ThoughtDelta | AnswerDelta]:
        if isinstance(event, Text):
            yield from self._text(event)
        elif isinstance(event, WorkerStop) and event.name == self.opened.plan.speaker:
            self._stop = event.reason
        elif isinstance(event, ParagraphEnd | WorkerStop):
            yield from self._finish_paragraph(event.name)
        elif isinstance(event, Answer):
            self._answers.append(event)
        elif isinstance(event, SessionEnd) and event.reason == FAILED:
            yield from self._rest_of_thoughts()  # the error follows, and no finish reason
        elif isinstance(event, SessionEnd):
            yield from self._rest_of_thoughts()
            rest = self.stop_filter.rest() if self._streams else self._whole_answer()
            yield from self._add_answer(rest)
            reason = self._stop or event.reason
            self.finish_reason = self.finish_reason or ("length" if reason in CUT else "stop")

    def _text(self, event: Text) -> Iterator[ThoughtDelta | AnswerDelta]:
        speaks = event.name == self.opened.plan.speaker
        if event.chosen and (speaks or event.name.startswith(FINISHER)):
            self.num_answer += len(event.token_ids)
        elif event.chosen:
            self.num_thought += len(event.token_ids)
        if speaks and self._streams:
            if event.chosen:
                text = event.text if self._started else event.text.lstrip()
                self._started = self._started or bool(text)
                yield from self._add_answer(self.stop_filter.add(text))
                if self.stop_filter.stopped:
                    self.finish_reason = "stop"
        elif event.chosen and event.text and not event.name.startswith(FINISHER):
            yield from self._think(event.name, event.text)

    def _think(self, worker: str, text: str) -> Iterator[ThoughtDelta]:
        self.thoughts[worker] = self.thoughts.get(worker, "") + text
        self._unfinished[worker] = self._unfinished.get(worker, "") + text
        if self.by_token:
            yield ThoughtDelta(worker, text)
        if "\n\n" in self._unfinished[worker].lstrip():
            yield from self._finish_paragraph(worker)

    def _finish_paragraph(self, worker: str) -> Iterator[ThoughtDelta]:
        """Add a worker's paragraph to the reasoning."""
        text = self._unfinished.pop(worker, "").strip()
        if text:
            paragraph = f"{worker}: {text}\n\n"
            self.reasoning += paragraph
            if not self.by_token:
                yield ThoughtDelta(worker, paragraph)

    def _rest_of_thoughts(self) -> Iterator[ThoughtDelta]:
        for worker in list(self._unfinished):
            yield from self._finish_paragraph(worker)

    @property
    def _streams(self) -> bool:
        """Whether the speaker's text is the answer, which is sent while it is written."""
        policy = self.opened.plan.team.answer_policy
        return policy is None or policy.form.kind is FormKind.TEXT

    def _whole_answer(self) -> str:
        policy = self.opened.plan.team.answer_policy
        vote = policy is not None and policy.vote
        answer = team_answer(self._answers, vote=vote) or ""
        return self.stop_filter.add(answer) + self.stop_filter.rest()

    def _add_answer(self, text: str) -> Iterator[AnswerDelta]:
        if text:
            self.content += text
            yield AnswerDelta(text)
