"""Routes of the native interface: sessions that clients can follow, speak to and change."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from hogwild_dist.config import MAX_TOP_K
from hogwild_dist.deploy.service.errors import RESPONSES
from hogwild_dist.deploy.service.http.dependencies import (
    ClientDep,
    OwnSession,
    ReadableSession,
    RequestIdDep,
    RunningSession,
    ServiceDep,
)
from hogwild_dist.deploy.service.openai.completion import sampling_of
from hogwild_dist.deploy.service.openai.schema import Size
from hogwild_dist.deploy.service.sessions.schema import (
    SessionSummaryView,
    SessionView,
    session_view,
    summary_view,
)
from hogwild_dist.deploy.service.sessions.session_params import SessionParams
from hogwild_dist.deploy.service.sessions.session_service import MOST_LISTED
from hogwild_dist.deploy.service.sessions.sse import session_events
from hogwild_dist.session.answers import FormKind
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.worker_profile import WorkerProfile

router = APIRouter(prefix="/v1", tags=["sessions"], responses=RESPONSES)

_NUMBER = re.compile(r"[0-9]{1,15}")
"""Form of an event id."""

Line = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SessionRequest(_Part):
    """A problem and the team to work on it; null takes the service's default."""

    problem: str
    team: str | None = None
    workers: Size | None = None
    layout: str | None = None
    max_tokens: Size | None = None
    answer_tokens: Size | None = None
    answer: Literal[FormKind.TEXT, FormKind.BOXED, FormKind.CODE] = FormKind.TEXT
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=0, le=MAX_TOP_K)] = None
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10)] = None
    logit_bias: None = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    trace: bool = False


class Words(_Part):
    """A person's message to the team."""

    text: Annotated[str, Field(max_length=20_000)]
    speaker: Line = "You"


class Newcomer(_Part):
    """A worker to add to the team."""

    name: Line
    role: Annotated[str, Field(max_length=2_000)] = ""
    brief: Annotated[str, Field(max_length=20_000)] = ""


class TeamView(BaseModel):
    """A team of the service; `workers` are the names of those with a role of their own.

    `fixed` tells that the team has these workers and no others.
    """

    name: str
    about: str
    workers: list[str]
    size: int
    fixed: bool
    layout: str


class Info(BaseModel):
    """The model, teams, limits and defaults of the service."""

    model: str
    visibility: str
    layouts: list[str]
    max_workers: int
    max_problem_chars: int
    needs_key: bool
    teams: list[TeamView]
    defaults: dict[str, str | float]


class SessionList(BaseModel):
    """Sessions, the newest first."""

    object: Literal["list"] = "list"
    data: list[SessionSummaryView]


class Accepted(BaseModel):
    """Acceptance of a change; its result is among the session's events."""

    accepted: Literal[True] = True


@router.get("/info")
async def info(service: ServiceDep) -> Info:
    """Describe the service: model, teams, limits and defaults."""
    config = service.config
    return Info(
        model=config.served_model,
        visibility=config.load_settings.engine.visibility.value,
        layouts=list(LAYOUTS),
        max_workers=config.bounds.workers,
        max_problem_chars=config.bounds.problem_chars,
        needs_key=service.keyring.needed,
        teams=[
            TeamView(
                name=name,
                about=plan.file.about,
                workers=[worker.name for worker in plan.file.workers],
                size=plan.file.size,
                fixed=plan.file.all_named,
                layout=plan.layout.name,
            )
            for name, plan in service.sessions.team_builder.plans.items()
        ],
        defaults=config.defaults.model_dump(),
    )


@router.post("/sessions", status_code=201)
async def create(request: SessionRequest, service: ServiceDep, client: ClientDep) -> SessionView:
    """Open a session; it runs even if no client follows it."""
    client.count_request()
    params = SessionParams(
        problem=request.problem,
        team=request.team,
        workers=request.workers,
        layout=request.layout,
        max_tokens=request.max_tokens,
        answer_tokens=request.answer_tokens,
        answer=request.answer,
        sampling=sampling_of(request, service.config.defaults),
        seed=request.seed or 0,
        recorded=request.trace,
    )
    opened = await service.sessions.open(params, tenant=client.name, leased=False)
    if client.counts_tokens:
        client.count_tokens(opened.prompt_tokens)
        service.sessions.meter(opened.id, client.count_tokens)
    try:
        return session_view(*await service.sessions.snapshot(str(opened.id)))
    except BaseException:  # the client does not learn the session's name
        service.sessions.cancel_in_background(opened.id)
        raise


@router.get("/sessions")
async def sessions(
    service: ServiceDep,
    client: ClientDep,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED,
) -> SessionList:
    """List the client's sessions that are still kept, the newest first."""
    found = await service.sessions.snapshots(client.name, limit)
    return SessionList(data=[summary_view(name, snapshot) for name, snapshot in found])


@router.get("/sessions/{session}")
async def session(found: ReadableSession) -> SessionView:
    """Fetch a session with all its text."""
    return session_view(found.id, found.snapshot)


@router.delete("/sessions/{session}", status_code=204)
async def delete(found: OwnSession, service: ServiceDep) -> None:
    """Delete a session with all its text; a running one is cancelled."""
    await service.sessions.delete(found.id)


@router.get(
    "/sessions/{session}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "Updates, and the session's end.",
        }
    },
)
async def events(
    found: ReadableSession,
    service: ServiceDep,
    request_id: RequestIdDep,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Follow a session from its start, or from the event after a given one."""
    if last_event_id is not None and _NUMBER.fullmatch(last_event_id):
        after = int(last_event_id)
    return StreamingResponse(
        session_events(
            service.sessions,
            service.metrics,
            found.id,
            found.snapshot,
            after=after,
            request_id=request_id,
        ),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


@router.post("/sessions/{session}/messages", status_code=202)
async def say(
    words: Words, found: RunningSession, service: ServiceDep, client: ClientDep
) -> Accepted:
    """Say something to the team; all workers see it from the next step on."""
    client.count_request()
    client.count_tokens(
        await service.sessions.say(found.id, found.snapshot, words.text, words.speaker)
    )
    return Accepted()


@router.post("/sessions/{session}/workers", status_code=202)
async def join(
    newcomer: Newcomer, found: RunningSession, service: ServiceDep, client: ClientDep
) -> Accepted:
    """Add a worker to the team."""
    client.count_request()
    profile = WorkerProfile(role=newcomer.role, brief=newcomer.brief)
    client.count_tokens(
        await service.sessions.add_worker(found.id, found.snapshot, newcomer.name, profile)
    )
    return Accepted()


@router.delete("/sessions/{session}/workers/{worker}", status_code=202)
async def let_go(worker: str, found: RunningSession, service: ServiceDep) -> Accepted:
    """Remove a worker when its paragraph ends."""
    await service.sessions.remove_worker(found.id, found.snapshot, worker)
    return Accepted()


@router.post("/sessions/{session}/cancel", status_code=202)
async def cancel(found: RunningSession, service: ServiceDep) -> Accepted:
    """End a session and keep its text."""
    await service.sessions.cancel(found.id)
    return Accepted()


@router.get("/sessions/{session}/trace", response_model=None)
async def trace(found: ReadableSession, service: ServiceDep) -> JSONResponse:
    """Fetch the trace of a recorded session that has ended."""
    recorded: dict[str, Any] = await service.sessions.trace(found.id, found.snapshot)
    return JSONResponse(recorded)
