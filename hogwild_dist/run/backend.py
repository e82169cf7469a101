"""A session as a stream of updates: what `run.Run` reads, whoever computes it."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.updates import Update, change_update, opening_update, updates
from hogwild_dist.model.loaded_model import ModelInfo
from hogwild_dist.session.changes import Change
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.session_request import SessionRequest


class Stream(Protocol):
    """A session at work."""

    def __iter__(self) -> Iterator[Update]:
        """Its updates, up to its end."""

    def apply_change(self, change: Change) -> None:
        """Change the session, if it goes on; what comes of it is among the next updates."""

    def stop(self) -> list[Update]:
        """End the session if it goes on, and free it; returns the updates that were not read."""


class Backend(Protocol):
    """What computes sessions: an engine in this process, or a group of shards.

    Attributes:
        tokenizer: of the model.
        config: of the engine, or of every shard's.
        info: what the model is.
    """

    tokenizer: PreTrainedTokenizerBase
    config: EngineConfig
    info: ModelInfo

    def open(self, request: SessionRequest, /, *, recorded: bool) -> Stream:
        """Start a session.

        Args:
            request: what it starts from.
            recorded: whether its updates carry a trace's entries.

        Raises:
            ContextLimitError: it does not fit.
        """


class LocalBackend:
    """An engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tokenizer = engine.tokenizer
        self.config = engine.config
        self.info = engine.model.info

    def open(self, request: SessionRequest, *, recorded: bool) -> Stream:
        """Start a session."""
        return LocalStream(self._engine, request.spec, recorded=recorded)


class LocalStream:
    """A session of an engine in this process, which steps as the updates are read."""

    def __init__(self, engine: Engine, spec: SessionSpec, *, recorded: bool) -> None:
        self._engine = engine
        self._session = engine.start(spec, recorded=recorded)
        self._stopped = False
        self._pending_changes: deque[Change] = deque()

    def __iter__(self) -> Iterator[Update]:
        yield opening_update(self._session)
        while not self._session.end_reason:
            while self._pending_changes:
                events = self._engine.apply_change(self._session, self._pending_changes.popleft())
                yield change_update(self._session, events)
            yield from updates(self._engine.step([self._session]))

    def apply_change(self, change: Change) -> None:
        """Change the session before its next step."""
        self._pending_changes.append(change)

    def stop(self) -> list[Update]:
        """End the session if it goes on, and free its cache."""
        if self._stopped:
            return []
        self._stopped = True
        try:
            rest = list(updates(self._engine.drain()))
            if not self._session.end_reason:
                events = self._session.end("cancelled")
                rest.append(change_update(self._session, events))
            return rest
        finally:
            self._session.free()
