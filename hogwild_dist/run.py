"""One problem from start to end: stream its events, then read the result."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hogwild_dist.engine import Engine
from hogwild_dist.events import Event
from hogwild_dist.team import Team
from hogwild_dist.trace import TraceWriter


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a run brought.

    Attributes:
        texts: worker name -> all that it wrote, first text and prefixes included.
        history: finished paragraphs in the order in which they ended.
        num_tokens: worker name -> tokens that it chose.
        finish_reasons: worker name -> why it stopped, None while it goes on.
        end_reason: why the session ended, None while it goes on.
        num_steps: forwards after the prompt.
        prompt_seconds: encoding the shared blocks.
        seconds: all steps together.
    """

    texts: Mapping[str, str]
    history: str
    num_tokens: Mapping[str, int]
    finish_reasons: Mapping[str, str | None]
    end_reason: str | None
    num_steps: int
    prompt_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Chosen tokens of all workers a second of stepping."""
        return sum(self.num_tokens.values()) / self.seconds if self.seconds else 0.0


class Run:
    """A team at work on a problem.

    Iterate once for the events; `result` can be read at any time. Leaving the iteration, a `with`
    block or an exception ends the session, keeps its text, completes the trace and frees its cache.

    Args:
        engine: from `load`.
        problem: what to work on.
        team: who works on it.
        trace: file to record to.

    Raises:
        ConfigError: problem, team and limits do not fit together.
        ContextLimitError: the problem is longer than the model or the cache holds.
        TraceError: the trace cannot be written.
    """

    def __init__(
        self, engine: Engine, problem: str, team: Team, trace: str | Path | None = None
    ) -> None:
        self._engine = engine
        texts, spec = team.texts_and_spec(problem, engine.tokenizer)
        begin = time.perf_counter()
        self._session = engine.start(spec)
        self._prompt_seconds = time.perf_counter() - begin
        self._seconds = 0.0
        self._closed = False
        self._started = False
        self._trace: TraceWriter | None = None
        if trace is not None:
            about = {"model": _describe(engine), "kind": team.layout.name, "texts": texts}
            try:
                visibility = engine.config.visibility
                self._trace = TraceWriter(trace, self._session, visibility, about)
            except BaseException:
                self._session.free()
                raise

    def __iter__(self) -> Iterator[Event]:
        if self._started or self._closed:
            raise RuntimeError("A run can be iterated once; make a new Run to work on it again.")
        self._started = True
        try:
            yield from self._session.opening()
            while not self._session.end_reason:
                outcome = self._engine.step([self._session])
                self._seconds += outcome.seconds
                if self._trace is not None:
                    self._trace.step(outcome)
                yield from outcome.events
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

    def close(self) -> None:
        """End the session if it goes on; complete the trace; free the cache."""
        if self._closed:
            return
        self._closed = True
        if not self._session.end_reason:
            self._session.end("cancelled")
        try:
            if self._trace is not None:
                self._trace.close()
        finally:
            self._session.free()

    @property
    def result(self) -> Result:
        """Text, counts and timings so far."""
        workers = self._session.workers
        return Result(
            texts={worker.spec.name: worker.text for worker in workers},
            history=self._session.history_text,
            num_tokens={worker.spec.name: worker.num_chosen for worker in workers},
            finish_reasons={worker.spec.name: worker.finish_reason for worker in workers},
            end_reason=self._session.end_reason,
            num_steps=self._session.step,
            prompt_seconds=self._prompt_seconds,
            seconds=self._seconds,
        )


def _describe(engine: Engine) -> dict[str, Any]:
    """What a trace says of its model."""
    config = engine.model.network.config.get_text_config()
    return {
        "name": engine.model.name,
        "dtype": str(engine.model.dtype).removeprefix("torch."),
        "type": config.model_type,
        "vocab_size": config.vocab_size,
    }
