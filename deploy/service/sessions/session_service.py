"""Opening, finding, following, changing and ending sessions by name."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.detached import DetachedContext
from hogwild_dist.actors.driver.session_record import Owner, SessionSnapshot
from hogwild_dist.actors.errors import ClusterError, GoneError, LogError
from hogwild_dist.actors.watched import watch
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.errors import (
    CONTEXT_CODE,
    ApiError,
    FieldError,
    busy,
    not_found,
)
from hogwild_dist.deploy.service.failures import report_background
from hogwild_dist.deploy.service.sessions.group_router import GroupRouter
from hogwild_dist.deploy.service.sessions.ids import SessionId, new_secret
from hogwild_dist.deploy.service.sessions.schema import all_names, working_names
from hogwild_dist.deploy.service.sessions.session_params import (
    PlannedTeam,
    SessionParams,
    TeamBuilder,
    check_total,
)
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loader import load_tokenizer
from hogwild_dist.run.trace.spec_json import header
from hogwild_dist.session.changes import Change, RemoveWorker
from hogwild_dist.session.events import Text
from hogwild_dist.team.change_texts import ChangeTexts
from hogwild_dist.team.prompts.chat_frame import chat_frames
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.team.worker_profile import WorkerProfile

T = TypeVar("T")

METER_SECONDS = 1.0
"""Time between two counts of a session's tokens in the background."""

MOST_LISTED = 100
"""Most sessions in a list."""

RETRY_SECONDS = 10
"""Retry-After of requests that find the queue full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A newly opened session.

    Attributes:
        id: name of the session.
        plan: its team.
        prompt_tokens: number of tokens in its prompts.
    """

    id: SessionId
    plan: PlannedTeam
    prompt_tokens: int


class SessionService:
    """Access to the sessions of all groups for the HTTP interface; it keeps no session state.

    Args:
        config: configuration of the service.

    Raises:
        ModelError: the model's tokenizer or chat template cannot be used.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.groups = GroupRouter(config)
        self.team_builder = TeamBuilder(config)
        self._tokenizer = load_tokenizer(resolve_model(config.load_settings.model))
        if self._tokenizer.chat_template is not None:
            chat_frames(self._tokenizer)  # fails at the start if the template cannot be used
        self._texts = ThreadPoolExecutor(1, thread_name_prefix="texts")  # not thread-safe
        self._tasks: set[asyncio.Task[Any]] = set()
        self._detached = DetachedContext()

    async def open(self, params: SessionParams, *, tenant: str, leased: bool) -> Opened:
        """Open a session on the group with the lowest load.

        Args:
            params: parameters from the client.
            tenant: name of the client.
            leased: whether the session is cancelled when no client reads it any more.

        Raises:
            ConfigError: a parameter is invalid.
            ApiError: the queue is full.
            ClusterError: no group is ready.
        """
        info = await self.groups.info()
        plan = self.team_builder.build_team(params)
        end_ids = info.shards[0].model.end_ids
        request = await self._in_text_thread(self._request, params.problem, plan, end_ids)
        prompt_tokens = sum(len(ids) for ids in request.spec.shared.values())
        if prompt_tokens > self.config.bounds.prompt_tokens:
            raise FieldError(
                "problem",
                f"Problem and prompts take {prompt_tokens} tokens; the limit is "
                f"{self.config.bounds.prompt_tokens} here.",
                code=CONTEXT_CODE,
            )
        slot, loads = await self.groups.least_loaded()
        if sum(load.waiting for load in loads.values()) >= self.config.bounds.queue:
            raise busy("Too many sessions are waiting", RETRY_SECONDS)
        secret = new_secret()
        owner = Owner(
            tenant=tenant,
            secret=secret,
            leased=leased,
            seconds=self.config.bounds.session_seconds,
        )
        opening = self.groups.at(slot).open(request, recorded=params.recorded, owner=owner)
        number = await self._not_abandoned(opening, slot, secret)
        return Opened(id=SessionId(slot, number, secret), plan=plan, prompt_tokens=prompt_tokens)

    async def snapshot(self, name: str) -> tuple[SessionId, SessionSnapshot]:
        """Return the parsed name and a snapshot of a session.

        Raises:
            ApiError: the session does not exist.
            ClusterError: its group does not answer at present, or is being started again.
        """
        found = SessionId.parse(name)
        if found is None:
            raise not_found(f"There is no session {name[:60]!r}.")
        try:
            snapshot = await self._group(found).snapshot(found.number)
        except ConfigError as error:
            raise not_found(f"There is no session {name[:60]!r} any more.") from error
        except GoneError as error:
            self.groups.forget(found.slot)
            if self._comes_back(found.slot):
                raise ClusterError(
                    "The group of this session is not running; try again once it is started."
                ) from error
            raise not_found(f"There is no session {name[:60]!r} any more.") from error
        if snapshot.owner.secret != found.secret:
            raise not_found(f"There is no session {name[:60]!r} any more.")
        return found, snapshot

    async def snapshots(
        self, tenant: str, limit: int = MOST_LISTED
    ) -> list[tuple[SessionId, SessionSnapshot]]:
        """Return the latest sessions of a client that are still kept, the newest first.

        Args:
            tenant: name of the client.
            limit: most sessions to return.
        """
        known = [
            (summary.started, slot, summary.id)
            for slot in await self.groups.loads()
            for summary in await self.groups.at(slot).sessions()
            if summary.tenant == tenant
        ]
        newest = sorted(known, reverse=True)[:limit]
        found = await asyncio.gather(*(self._listed(slot, number) for _, slot, number in newest))
        return [one for one in found if one is not None]

    def follow(self, session: SessionId, cursor: int = 0) -> AsyncIterator[list[Update]]:
        """Yield a session's updates from `cursor` on; see `AsyncShardGroup.follow`."""
        return self._group(session).follow(session.number, cursor)

    async def cancel(self, session: SessionId) -> None:
        """End a session."""
        await self._group(session).cancel(session.number)

    async def delete(self, session: SessionId) -> None:
        """Drop a session with all its text; a running one is cancelled.

        Raises:
            ApiError: the session does not exist, or its text is still on disk.
        """
        try:
            await self._group(session).forget(session.number)
        except ConfigError as error:
            raise not_found(f"There is no session {str(session)!r} any more.") from error
        except LogError as error:
            raise ApiError(
                503, f"The session can no longer be read, but its text is still on disk: {error}"
            ) from error

    def cancel_in_background(self, session: SessionId) -> None:
        """End a session in the background, for a client that has left."""
        self._in_background(self.cancel(session))

    def meter(self, session: SessionId, count: Callable[[int], None]) -> None:
        """Count a session's chosen tokens in the background, even if no client follows it."""
        self._in_background(self._meter(session, count))

    async def say(
        self, session: SessionId, snapshot: SessionSnapshot, text: str, speaker: str
    ) -> int:
        """Say something to the team; return the number of tokens that it reads.

        Raises:
            FieldError: the text is too long.
        """
        texts = ChangeTexts(snapshot.origin, self._tokenizer)
        said = await self._in_text_thread(texts.interjection, text, speaker)
        self._check_length("text", "message", len(said.token_ids), "split it")
        await self._apply_change(session, said)
        return len(said.token_ids)

    async def add_worker(
        self, session: SessionId, snapshot: SessionSnapshot, name: str, profile: WorkerProfile
    ) -> int:
        """Let a worker join the team; return the number of tokens in its first input.

        Raises:
            FieldError: the team would have too many workers or tokens, or the brief is too long.
            ConfigError: another worker is joining.
        """
        texts = ChangeTexts(snapshot.origin, self._tokenizer)
        newcomer = await self._in_text_thread(texts.add_worker, name, profile)
        self._check_length("brief", "brief", len(newcomer.worker.first_input), "shorten it")
        snapshot = await self._group(session).snapshot(
            session.number
        )  # a worker may have joined meanwhile
        limit, working = self.config.bounds.workers, len(working_names(snapshot))
        if working >= limit:
            raise FieldError(
                "name",
                f"The team has {working} workers; the limit is {limit} here: let one leave first.",
            )
        team = replace(snapshot.origin.team, names=(*all_names(snapshot), name))
        finishers = len(snapshot.origin.spec.finishers)
        check_total(team, self.config.session_tokens, "name", finishers=finishers)
        await self._group(session).join(session.number, newcomer)
        return len(newcomer.worker.first_input)

    async def remove_worker(self, session: SessionId, snapshot: SessionSnapshot, name: str) -> None:
        """Remove a worker when its paragraph ends.

        Raises:
            ApiError: no active worker has this name.
        """
        working = working_names(snapshot)
        if name not in working:
            raise not_found(
                f"There is no active worker {name[:60]!r} in this session; use one of "
                f"{', '.join(working)}."
            )
        await self._apply_change(session, RemoveWorker(name=name))

    async def trace(self, session: SessionId, snapshot: SessionSnapshot) -> dict[str, object]:
        """Return the trace of a recorded session that has ended.

        Raises:
            ApiError: the session was not recorded, has not ended, or has failed.
        """
        if snapshot.summary.end_reason is None and snapshot.summary.error is not None:
            raise not_found("The session was lost before its end and has no trace; open a new one.")
        if snapshot.summary.end_reason is None:
            raise ApiError(409, "The session has not ended yet; fetch its trace when it has.")
        group = self._group(session)
        updates = [one async for some in group.follow(session.number) for one in some]
        if updates[-1].final is None:
            raise not_found('The session was not recorded; open one with "trace": true.')
        info = await group.info()
        model = info.shards[0].model
        request, config = snapshot.origin, info.settings.shard.engine
        texts, _ = await self._in_text_thread(
            lambda: request.team.texts_and_spec(
                request.problem, self._tokenizer, end_ids=model.end_ids
            )
        )
        about = {"model": model.about(), "kind": request.team.layout.name, "texts": texts}
        steps = [update.record for update in updates if update.record is not None]
        return {**header(request.spec, config, about), "steps": steps, **updates[-1].final}

    async def _not_abandoned(
        self, opening: Coroutine[Any, Any, int], slot: int, secret: str
    ) -> int:
        """Return the number of a session that is being opened.

        If the caller is cancelled meanwhile, the session is cancelled as soon as it is open.
        """
        task = self._detached.task(opening)

        def abandon(done: asyncio.Task[int]) -> None:
            if not done.cancelled() and done.exception() is None:
                self.cancel_in_background(SessionId(slot, done.result(), secret))

        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._keep(task)
            task.add_done_callback(abandon)
            raise

    def _comes_back(self, slot: int) -> bool:
        """Whether the sessions of a slot without a group are in a journal, for its next group."""
        return self.config.journal is not None and slot < self.config.num_slots

    async def _listed(self, slot: int, number: int) -> tuple[SessionId, SessionSnapshot] | None:
        """Return a list entry, or None if the session was dropped or lost meanwhile."""
        try:
            snapshot = await self.groups.at(slot).snapshot(number)
        except HogwildError:
            return None
        return SessionId(slot, number, snapshot.owner.secret), snapshot

    async def _meter(self, session: SessionId, count: Callable[[int], None]) -> None:
        with contextlib.suppress(HogwildError):  # tokens chosen before the error are counted
            async for updates in self.follow(session):
                count(chosen_tokens(updates))
                await asyncio.sleep(METER_SECONDS)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._detached.task(work)  # it must not be cancelled with the request
        watch(task, report_background)
        self._keep(task)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task alive that nobody awaits."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_length(self, field: str, what: str, count: int, advice: str) -> None:
        limit = self.config.bounds.message_tokens
        if count > limit:
            raise FieldError(
                field,
                f"The {what} takes {count} tokens; the limit is {limit} here: {advice}, or raise "
                "bounds.message_tokens of the service.",
            )

    async def _apply_change(self, session: SessionId, change: Change) -> None:
        await self._group(session).apply_change(session.number, change)

    def _group(self, session: SessionId) -> AsyncShardGroup:
        return self.groups.at(session.slot)

    def _request(self, problem: str, plan: PlannedTeam, end_ids: frozenset[int]) -> SessionRequest:
        spec = plan.team.spec(problem, self._tokenizer, end_ids=end_ids)
        return SessionRequest(problem=problem, team=plan.team, spec=spec, team_name=plan.name)

    async def _in_text_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function in the thread for texts, so that the event loop is not blocked."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._texts, function, *arguments)


def chosen_tokens(updates: Sequence[Update]) -> int:
    """Return the number of tokens chosen in the updates."""
    events = (event for update in updates for event in update.events)
    return sum(len(event.token_ids) for event in events if isinstance(event, Text) and event.chosen)
