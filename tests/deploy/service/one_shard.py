"""The service before a group that is one shard in this process, without a cluster."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from hogwild_dist.actors.driver.journal import Journal
from hogwild_dist.actors.driver.session_record import Owner, SessionSnapshot
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.http.app import build_http
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.keys import Keyring
from hogwild_dist.deploy.service.sessions.session_service import SessionService
from hogwild_dist.engine.commands import ApplyChange, Command, Inbox, Open
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.session.changes import Change
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.session_request import SessionRequest
from tests.tiny_engine import tiny_engine


class Group:
    """One shard without peers; a session takes two steps and ends."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.journal = Journal(kept=10)
        self._num_sessions = 0

    async def info(self) -> Any:
        return _Info(self.model)

    async def open(self, request: SessionRequest, *, recorded: bool, owner: Owner) -> int:
        self._num_sessions += 1
        self.journal.begin(self._num_sessions, request, owner, recorded=recorded)
        return self._num_sessions

    async def follow(self, number: int, cursor: int = 0) -> AsyncIterator[list[Update]]:
        updates = self.run(number)
        for update in updates:
            if update.error is not None:
                raise update.error
        yield updates

    async def snapshot(self, number: int) -> SessionSnapshot:
        return self.journal.snapshot(number)

    async def cancel(self, number: int) -> None:
        pass

    async def apply_change(self, number: int, change: Change) -> None:
        self.run(number, change)

    async def join(self, number: int, newcomer: Change) -> None:
        self.run(number, newcomer)

    def run(self, number: int, *changes: Change) -> list[Update]:
        """Let a new shard work on a session and return its updates."""
        spec = _short(self.journal.record(number).request.spec)
        updates: list[Update] = []
        inbox = Inbox()
        loop = ShardLoop(tiny_engine(self.model), inbox, updates.extend)
        commands: list[Command] = [
            Open(session=number, spec=spec, recorded=False),
            *(ApplyChange(session=number, change=change) for change in changes),
        ]
        for at, command in enumerate(commands, start=1):
            inbox.put(at, command)
        assert loop.run() == len(commands)
        assert updates
        return updates


def _short(spec: SessionSpec) -> SessionSpec:
    """Return a specification whose workers take two steps, and whose finishers choose one token."""
    workers = tuple(replace(one, stop_at_step=2) for one in spec.workers)
    rule = spec.answer_rule
    if rule is not None:
        finishers = [replace(one, spec=replace(one.spec, max_tokens=1)) for one in rule.finishers]
        rule = replace(rule, finishers=tuple(finishers))
    return replace(spec, workers=workers, answer_rule=rule)


class _Info:
    """Description of a group of one shard."""

    def __init__(self, model: LoadedModel) -> None:
        self.shards = (self,)
        self.model = model.info


class Router:
    """The one group of the service."""

    def __init__(self, group: Group) -> None:
        self.group = group

    async def info(self) -> Any:
        return await self.group.info()

    async def least_loaded(self) -> tuple[int, dict[int, Any]]:
        return 0, {}

    def at(self, slot: int) -> Group:
        return self.group


class Uncounted:
    """Takes what would be measured."""

    def __init__(self) -> None:
        self.token = self.first_token = self

    def observe(self, seconds: float) -> None:
        pass

    def count_request(self, route: str, status: int) -> None:
        pass

    def count_tokens(self, prompt: int, completion: int) -> None:
        pass


def service_of(tiny_dir: Path, group: Group) -> Service:
    config = ServiceConfig(model=str(tiny_dir), model_name="tiny", defaults={"max_tokens": 8})
    sessions = SessionService(config)
    sessions.groups = Router(group)
    return Service(config=config, sessions=sessions, keyring=Keyring(()), metrics=Uncounted())


def client_of(service: Service) -> TestClient:
    return TestClient(build_http(service), raise_server_exceptions=False)
