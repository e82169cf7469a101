"""The text of a team, assembled from the events of its session."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hogwild_dist.session.events import (
    Answer,
    Event,
    Interjected,
    Joined,
    ParagraphEnd,
    SessionEnd,
    Text,
    WorkerStop,
)


@dataclass(slots=True)
class Transcript:
    """Texts, counts and answers of a session, updated event by event.

    Attributes:
        names: names of the workers that start, in team order.
        texts: worker name -> its whole text, first text and prefixes included.
        joined_roles: name of a worker that joined -> its role.
        history: finished paragraphs and interjections, in order.
        num_tokens: worker name -> number of tokens that it chose.
        finish_reasons: worker name -> why it stopped, or None while it is running.
        end_reason: why the session ended, or None while it is running.
        answers: announced and stated answers, in order.
    """

    names: Sequence[str]
    texts: dict[str, str] = field(default_factory=dict)
    joined_roles: dict[str, str] = field(default_factory=dict)
    history: str = ""
    num_tokens: dict[str, int] = field(default_factory=dict)
    finish_reasons: dict[str, str | None] = field(default_factory=dict)
    end_reason: str | None = None
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.names:
            self._add_worker(name)

    def add(self, event: Event) -> None:
        """Apply the next event."""
        if isinstance(event, Text):
            self._add_worker(event.name)
            self.texts[event.name] += event.text
            self.num_tokens[event.name] += len(event.token_ids) if event.chosen else 0
        elif isinstance(event, ParagraphEnd):
            self.history += event.text
        elif isinstance(event, WorkerStop):
            self.finish_reasons[event.name] = event.reason
        elif isinstance(event, Joined):
            self.joined_roles[event.name] = event.role
        elif isinstance(event, Interjected):
            self.history += event.text
        elif isinstance(event, Answer):
            self.answers.append(event)
        elif isinstance(event, SessionEnd):
            self.end_reason = event.reason

    def _add_worker(self, name: str) -> None:
        """Create the entries of a worker if it has none."""
        self.texts.setdefault(name, "")
        self.num_tokens.setdefault(name, 0)
        self.finish_reasons.setdefault(name, None)
