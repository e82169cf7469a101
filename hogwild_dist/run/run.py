"""`Run`: a team's work on one problem, as a stream of events and a result."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.updates import Update
from hogwild_dist.run.backend import Backend, LocalBackend
from hogwild_dist.run.trace.spec_json import header
from hogwild_dist.run.trace.writer import TraceWriter
from hogwild_dist.run.transcript import Transcript
from hogwild_dist.session.changes import RemoveWorker
from hogwild_dist.session.events import Answer, Event
from hogwild_dist.team.answer_policy import team_answer
from hogwild_dist.team.change_texts import ChangeTexts
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.team.team import Team
from hogwild_dist.team.worker_profile import WorkerProfile


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The outcome of a run so far.

    Attributes:
        texts: worker name -> its whole text, first text and prefixes included.
        history: finished paragraphs in the order in which they ended.
        num_tokens: worker name -> number of tokens that it chose.
        finish_reasons: worker name -> why it stopped, or None while it is running.
        end_reason: why the session ended, or None while it is running.
        num_steps: number of forward passes after the prompt.
        prompt_seconds: time spent encoding the shared blocks, in seconds.
        seconds: time spent in steps, in seconds.
        answers: announced and stated answers, in order.
        answer: the team's answer, or None.
    """

    texts: Mapping[str, str]
    history: str
    num_tokens: Mapping[str, int]
    finish_reasons: Mapping[str, str | None]
    end_reason: str | None
    num_steps: int
    prompt_seconds: float
    seconds: float
    answers: Sequence[Answer] = ()
    answer: str | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens chosen by all workers for each second spent in steps."""
        return sum(self.num_tokens.values()) / self.seconds if self.seconds else 0.0


class Run:
    """A team at work on a problem.

    Iterate once for the events; `result` can be read at any time. The session ends when the
    iteration or the `with` block is left, also by an exception: its text is kept, the trace is
    completed and the cache is freed.

    Args:
        backend: engine from `load`, or a group of shards.
        problem: text of the problem.
        team: workers, layout, prompts and limits.
        trace: path of the file to record to; None records nothing.

    Raises:
        ConfigError: problem, team and limits do not fit together.
        ContextLimitError: the problem exceeds the context of the model or the size of the cache.
        TraceError: the trace cannot be written.
    """

    def __init__(
        self,
        backend: Engine | Backend,
        problem: str,
        team: Team,
        trace: str | Path | None = None,
    ) -> None:
        source = LocalBackend(backend) if isinstance(backend, Engine) else backend
        end_ids = source.info.end_ids
        texts, spec = team.texts_and_spec(problem, source.tokenizer, end_ids=end_ids)
        request = SessionRequest(problem=problem, team=team, spec=spec)
        self._changes = ChangeTexts(request, source.tokenizer)
        self._transcript = Transcript(team.names)
        self._vote = team.answer_policy is not None and team.answer_policy.vote
        self._num_steps = 0
        self._seconds = 0.0
        self._closed = False
        self._closing_events: list[Event] = []
        self._started = False
        self._trace: TraceWriter | None = None
        if trace is not None:
            about = {"model": source.info.about(), "kind": team.layout.name, "texts": texts}
            self._trace = TraceWriter(trace, header(spec, source.config, about))
        started_at = time.perf_counter()
        try:
            self._stream = source.open(request, recorded=trace is not None)
        except BaseException:
            if self._trace is not None:
                self._trace.close()
            raise
        self._prompt_seconds = time.perf_counter() - started_at

    def __iter__(self) -> Iterator[Event]:
        if self._started or self._closed:
            raise RuntimeError("A run can be iterated only once; create another Run.")
        self._started = True
        try:
            for update in self._stream:
                yield from self._apply_update(update)
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> list[Event]:
        """End the session if it is running, complete the trace and free the cache.

        Returns:
            The events of the end; the same ones if the run was closed before.
        """
        if self._closed:
            return self._closing_events
        self._closed = True
        try:
            for update in self._stream.stop():
                self._closing_events += self._apply_update(update)
        finally:
            if self._trace is not None:
                self._trace.close()
        return self._closing_events

    def interject(self, text: str, name: str = "You") -> None:
        """Add a message to the shared history; every worker sees it from the next step on.

        Args:
            text: text of the message.
            name: name of the speaker.

        Raises:
            ConfigError: the text is empty, or no block is visible to every worker.
        """
        self._stream.apply_change(self._changes.interjection(text, name))

    def join(self, name: str, member: WorkerProfile | None = None) -> None:
        """Add a worker to the team; the layout's general rule gives its view.

        Args:
            name: name of the worker.
            member: role, brief and sampling of the worker; None takes the defaults.

        Raises:
            ConfigError: the name cannot be used.
        """
        self._stream.apply_change(self._changes.add_worker(name, member or WorkerProfile()))

    def leave(self, name: str) -> None:
        """Remove a worker when its paragraph ends, or at once if the layout has no paragraphs."""
        self._stream.apply_change(RemoveWorker(name=name))

    @property
    def result(self) -> Result:
        """Texts, counts and timings so far."""
        transcript = self._transcript
        return Result(
            texts=dict(transcript.texts),
            history=transcript.history,
            num_tokens=dict(transcript.num_tokens),
            finish_reasons=dict(transcript.finish_reasons),
            end_reason=transcript.end_reason,
            num_steps=self._num_steps,
            prompt_seconds=self._prompt_seconds,
            seconds=self._seconds,
            answers=tuple(transcript.answers),
            answer=team_answer(transcript.answers, vote=self._vote),
        )

    def _apply_update(self, update: Update) -> tuple[Event, ...]:
        """Record an update in the result and the trace, and return its events."""
        self._num_steps = max(self._num_steps, update.step + 1)
        self._seconds += update.seconds
        for event in update.events:
            self._transcript.add(event)
        if self._trace is not None and update.record is not None:
            self._trace.step(update.record)
        if self._trace is not None and update.final is not None:
            self._trace.end(update.final)
        return update.events
