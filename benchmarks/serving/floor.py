"""The floor: one process that runs the same sessions with an engine alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hogwild_dist.deploy.service.config import service_config
from hogwild_dist.deploy.service.openai.completion import params_of
from hogwild_dist.deploy.service.openai.schema import ChatRequest
from hogwild_dist.deploy.service.sessions.session_params import TeamBuilder
from hogwild_dist.engine.commands import Inbox, Open
from hogwild_dist.engine.scheduler.step import StepOutcome
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.run.load import load_engine
from hogwild_dist.session.events import SessionEnd, Text
from hogwild_dist.session.spec import SessionSpec


@dataclass(frozen=True, slots=True)
class Floor:
    """Measurements of a number of sessions, of which a few run at a time.

    Attributes:
        seconds: duration of all sessions.
        tokens: number of chosen tokens.
        steps: number of the engine's steps.
        step_seconds: total duration of these steps.
        forwards: number of forward passes, including those that encode prompts.
        encoded: number of prompt tokens that had to be encoded.
        prompt: number of prompt tokens of the sessions.
    """

    seconds: float
    tokens: int
    steps: int
    step_seconds: float
    forwards: int
    encoded: int
    prompt: int

    @property
    def tokens_per_second(self) -> float:
        """Number of tokens that workers and answers chose each second."""
        return self.tokens / self.seconds


class Alone:
    """An engine with the settings of the service's shard.

    Args:
        arguments: configuration of the service.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._config = service_config(arguments)
        self._engine = load_engine(self._config.load_settings)
        self._team_builder = TeamBuilder(self._config)
        self._forwards = 0
        self._engine.model.hf_model.register_forward_hook(self._count)
        self._number = 0

    def _count(self, *_: Any) -> None:
        self._forwards += 1

    def specs(self, bodies: Sequence[dict[str, Any]]) -> list[SessionSpec]:
        """Return the session specifications that the service would make of the requests."""
        found = []
        for body in bodies:
            params = params_of(ChatRequest.model_validate(body), self._config.defaults, 0)
            team = self._team_builder.build_team(params).team
            end_ids = self._engine.model.info.end_ids
            found.append(team.spec(params.problem, self._engine.tokenizer, end_ids=end_ids))
        return found

    def play(self, bodies: Sequence[dict[str, Any]], at_once: int) -> Floor:
        """Run all sessions, a given number at a time."""
        specs = self.specs(bodies)
        waiting = specs[::-1]
        inbox, tokens, steps, step_seconds = Inbox(), 0, 0, 0.0
        forwards, encoded = self._forwards, self._engine.num_encoded

        def put() -> None:
            if waiting:
                self._number += 1
                opened = Open(session=self._number, spec=waiting.pop(), recorded=False)
                inbox.put(len(specs) - len(waiting), opened)

        def take(updates: Sequence[Update]) -> None:
            nonlocal tokens
            for event in (event for update in updates for event in update.events):
                if isinstance(event, Text) and event.chosen:
                    tokens += len(event.token_ids)
                elif isinstance(event, SessionEnd):
                    put()

        def count(outcome: StepOutcome) -> None:
            nonlocal steps, step_seconds
            steps += 1
            step_seconds += outcome.seconds

        loop = ShardLoop(self._engine, inbox, take, observe=count)
        begin = time.perf_counter()
        for _ in range(at_once):
            put()
        while loop.run() < len(specs):
            pass
        return Floor(
            seconds=time.perf_counter() - begin,
            tokens=tokens,
            steps=steps,
            step_seconds=step_seconds,
            forwards=self._forwards - forwards,
            encoded=self._engine.num_encoded - encoded,
            prompt=sum(len(ids) for spec in specs for ids in spec.shared.values()),
        )
