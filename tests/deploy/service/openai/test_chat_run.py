"""A chat completion at work: what it counts while it runs, and which sessions it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace

from hogwild_dist.deploy.service.config import Key
from hogwild_dist.deploy.service.errors import ApiError
from hogwild_dist.deploy.service.http.chat import _follow_choices
from hogwild_dist.deploy.service.keys import Client
from hogwild_dist.deploy.service.openai.completion import Completion
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.engine.updates import Update
from tests.deploy.service.openai.test_choice import choice_of, spoken


class SessionService:
    """Its sessions write without end."""

    def __init__(self) -> None:
        self.left: list[int] = []

    async def follow(self, session: SessionId) -> AsyncIterator[list[Update]]:
        first = choice_of(number=session.number)
        while True:
            yield [spoken(first, "x" if session.number == 1 else "y", tokens=5)]

    def cancel_in_background(self, session: SessionId) -> None:
        self.left.append(session.number)


class Uncounted:
    """Takes what would be measured."""

    def __init__(self) -> None:
        self.token = self.first_token = SimpleNamespace(observe=lambda seconds: None)

    def count_tokens(self, prompt: int, completion: int) -> None:
        pass


def service_of(sessions: SessionService) -> SimpleNamespace:
    return SimpleNamespace(sessions=sessions, metrics=Uncounted())


def test_a_choice_that_met_its_stop_ends_its_session_at_once_and_only_once() -> None:
    sessions = SessionService()
    choices = [choice_of("x", number=1), choice_of("x", number=2)]

    async def run() -> list[int]:
        completion = Completion("tiny", choices)
        async with aclosing(
            _follow_choices(completion, service_of(sessions), Client(None))
        ) as results:
            async for index, _ in results:
                if index == 1 and choices[0].done:
                    return list(sessions.left)
        return []

    assert asyncio.run(run()) == [1]
    assert choices[0].finish_reason == "stop"
    assert sessions.left == [1, 2]


def test_tokens_are_counted_while_they_are_chosen() -> None:
    key = Key(name="eve", sha256="0" * 64, tokens_per_minute=12)
    client = Client(key)

    async def run() -> int:
        completion = Completion("tiny", [choice_of(number=2)])
        taken = 0
        async with aclosing(
            _follow_choices(completion, service_of(SessionService()), client)
        ) as results:
            async for _ in results:
                taken += 5
                try:
                    client.count_request()
                except ApiError:
                    break
                if taken > 50:
                    break
        return taken

    assert asyncio.run(run()) == 15
