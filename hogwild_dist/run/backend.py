"""Backends: an engine or a group of shards that opens a session as a stream of updates."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from hogwild_dist.config import EngineConfig
from hogwild_dist.engine.containment import contain
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.updates import Update, change_update, opening_update, updates
from hogwild_dist.model.loaded_model import ModelInfo
from hogwild_dist.session.changes import Change
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.session_request import SessionRequest


class Stream(Protocol):
    """The updates of a running session, and the means to change or stop it."""

    def __iter__(self) -> Iterator[Update]:
        """Yield the updates until the session ends.

        Raises:
            HogwildError: the session could not start, or has failed; all updates were yielded.
        """

    def apply_change(self, change: Change) -> None:
        """Apply a change if the session is still running; its events are in a later update."""

    def stop(self) -> list[Update]:
        """End the session, free its cache, and return the updates that were not read."""


class Backend(Protocol):
    """An engine in this process, or a group of shards.

    Attributes:
        config: configuration of the engine, the same on every shard.
        info: name, vocabulary and end tokens of the model.
    """

    config: EngineConfig
    info: ModelInfo

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the model."""

    def open(self, request: SessionRequest, /, *, recorded: bool) -> Stream:
        """Start a session.

        Args:
            request: problem, team and spec of the session.
            recorded: whether the updates carry entries for a trace.

        Raises:
            ContextLimitError: the session does not fit in the cache.
        """


class LocalBackend:
    """A backend that is an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tokenizer = engine.tokenizer
        self.config = engine.config
        self.info = engine.model.info

    def open(self, request: SessionRequest, *, recorded: bool) -> Stream:
        """Start a session."""
        return LocalStream(self._engine, request.spec, recorded=recorded)


class LocalStream:
    """A session of an engine in this process; it takes a step whenever an update is read."""

    def __init__(self, engine: Engine, spec: SessionSpec, *, recorded: bool) -> None:
        self._engine = engine
        self._session = engine.start(spec, recorded=recorded)
        self._stopped = False
        self._pending_changes: deque[Change] = deque()

    def __iter__(self) -> Iterator[Update]:
        session = self._session
        yield opening_update(session, contain(session, session.opening))
        while not session.end_reason:
            while self._pending_changes and not session.end_reason:
                events = self._engine.apply_change(session, self._pending_changes.popleft())
                yield change_update(session, events)
            yield from updates(self._engine.step([session]))
        if session.failure is not None:
            raise session.failure

    def apply_change(self, change: Change) -> None:
        """Apply a change before the next step."""
        self._pending_changes.append(change)

    def stop(self) -> list[Update]:
        """End the session, free its cache, and return the updates that were not read."""
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
