"""One choice of a chat completion: what the updates of its session say to the client."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hogwild_dist.deploy.service.openai.stop_strings import StopStringFilter
from hogwild_dist.deploy.service.sessions.session_service import Opened
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.answers import FormKind
from hogwild_dist.session.events import Answer, Event, SessionEnd, Text, WorkerStop
from hogwild_dist.team.answer_policy import FINISHER, team_answer

CUT = ("max_tokens", "step_limit", "context_limit", "cache_limit", "timeout", "cancelled")
"""Reasons for which an answer is not complete."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What a worker wrote on the way."""

    worker: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the team says to the user."""

    text: str


@dataclass(slots=True)
class Choice:
    """The state of one choice.

    Attributes:
        opened: its session.
        shown: the answer, cut at stop strings.
        content: of the answer so far.
        thoughts: worker -> all that it wrote.
        num_thought: tokens chosen by the workers that do not speak to the user.
        num_said: tokens of the answer.
        finish_reason: in OpenAI's words, once nothing more is to be said.
        ended: whether the session has ended.
    """

    opened: Opened
    shown: StopStringFilter
    content: str = ""
    thoughts: dict[str, str] = field(default_factory=dict)
    num_thought: int = 0
    num_said: int = 0
    finish_reason: str | None = None
    ended: bool = False
    _begun: bool = False
    """Whether the answer has text that is not blank, shown or held back."""
    _stop: str = ""
    _answers: list[Answer] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether nothing more is to be said."""
        return self.finish_reason is not None

    @property
    def num_chosen(self) -> int:
        """Tokens chosen, thoughts included."""
        return self.num_thought + self.num_said

    def take(self, update: Update) -> Iterator[Thought | Said]:
        """What an update brings the client."""
        for event in update.events:
            self.ended = self.ended or isinstance(event, SessionEnd)
            if not self.done:
                yield from self._event(event)

    def _event(self, event: Event) -> Iterator[Thought | Said]:
        if isinstance(event, Text):
            yield from self._text(event)
        elif isinstance(event, WorkerStop) and event.name == self.opened.plan.speaker:
            self._stop = event.reason
        elif isinstance(event, Answer):
            self._answers.append(event)
        elif isinstance(event, SessionEnd):
            yield from self._say(self.shown.rest() if self._streams else self._whole_answer())
            reason = self._stop or event.reason
            self.finish_reason = self.finish_reason or ("length" if reason in CUT else "stop")

    def _text(self, event: Text) -> Iterator[Thought | Said]:
        speaks = event.name == self.opened.plan.speaker
        if event.chosen and (speaks or event.name.startswith(FINISHER)):
            self.num_said += len(event.token_ids)
        elif event.chosen:
            self.num_thought += len(event.token_ids)
        if speaks and self._streams:
            if event.chosen:
                text = event.text if self._begun else event.text.lstrip()
                self._begun = self._begun or bool(text)
                yield from self._say(self.shown.add(text))
                if self.shown.stopped:
                    self.finish_reason = "stop"
        elif event.text and not event.name.startswith(FINISHER):
            self.thoughts[event.name] = self.thoughts.get(event.name, "") + event.text
            yield Thought(event.name, event.text)

    @property
    def _streams(self) -> bool:
        """Whether the answer is what the speaker writes, as it is written."""
        policy = self.opened.plan.team.answer_policy
        return policy is None or policy.form.kind is FormKind.TEXT

    def _whole_answer(self) -> str:
        policy = self.opened.plan.team.answer_policy
        vote = policy is not None and policy.vote
        return self.shown.add(team_answer(self._answers, vote=vote) or "") + self.shown.rest()

    def _say(self, text: str) -> Iterator[Said]:
        if text:
            self.content += text
            yield Said(text)
