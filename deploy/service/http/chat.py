"""Routes of OpenAI's interface: chat completions by a team, and the list of models."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.deploy.service.errors import RESPONSES, ApiError, FieldError, error_body
from hogwild_dist.deploy.service.failures import sentence_of
from hogwild_dist.deploy.service.http.dependencies import (
    ClientDep,
    RequestIdDep,
    Service,
    ServiceDep,
)
from hogwild_dist.deploy.service.keys import Client
from hogwild_dist.deploy.service.metrics import Pace
from hogwild_dist.deploy.service.openai.choice import AnswerDelta, Choice, ThoughtDelta
from hogwild_dist.deploy.service.openai.completion import Completion, params_of
from hogwild_dist.deploy.service.openai.schema import ChatRequest
from hogwild_dist.deploy.service.openai.stop_strings import StopStringFilter
from hogwild_dist.deploy.service.sessions.session_params import SessionParams
from hogwild_dist.deploy.service.sessions.session_service import Opened
from hogwild_dist.deploy.service.sessions.sse import GATHER_SECONDS, chosen_steps
from hogwild_dist.engine.updates import Update

router = APIRouter(prefix="/v1", tags=["openai"], responses=RESPONSES)

QUEUED_UPDATES = 4
"""Updates of one request held for a slow reader; the sessions' journals keep the rest."""

QUIET_SECONDS = 5.0
"""Time without a chunk after which a keep-alive is sent; a paragraph may take minutes."""

ChoiceUpdate = tuple[int, list[Update], Exception | None]
"""The index of a choice, its updates, and its error if it has failed."""

STARTED = int(time.time())


@router.get("/models")
async def models(service: ServiceDep, _: ClientDep) -> dict[str, Any]:
    """List the served model."""
    return {"object": "list", "data": [_model(service)]}


@router.get("/models/{model:path}")
async def model(model: str, service: ServiceDep, _: ClientDep) -> dict[str, Any]:
    """Describe the served model."""
    _check_model(model, service)
    return _model(service)


@router.post(
    "/chat/completions",
    response_model=None,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "A completion, or a stream of its chunks.",
        }
    },
)
async def complete(
    request: ChatRequest, service: ServiceDep, client: ClientDep, request_id: RequestIdDep
) -> JSONResponse | StreamingResponse:
    """Let a team work on a chat; the message holds its answer, and its thoughts separately."""
    _check_model(request.model, service)
    client.count_request()
    completion = await _open(request, service, client)
    if not request.stream:
        async with aclosing(_follow_choices(completion, service, client)) as results:
            async for _ in results:
                pass
        return JSONResponse(completion.whole())
    chunks = _stream(request, completion, service, client, request_id)
    first = await anext(chunks)  # errors that refuse the request are raised before it
    return StreamingResponse(
        _prepended(first, chunks),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.config.served_model,
        "object": "model",
        "created": STARTED,
        "owned_by": "hogwild-dist",
    }


def _check_model(name: str, service: Service) -> None:
    """Refuse a model that is not served."""
    served = service.config.served_model
    if name != served:
        raise ApiError(
            404,
            f"There is no model {name[:60]!r} here; use {served!r}.",
            param="model",
            code="model_not_found",
        )


async def _open(request: ChatRequest, service: Service, client: Client) -> Completion:
    """Open a session for each choice."""
    count = request.n or 1
    if count > service.config.bounds.choices:
        raise ApiError(
            400, f"n is {count}; it must be at most {service.config.bounds.choices}.", param="n"
        )
    choices: list[Choice] = []
    try:
        for index in range(count):
            params = params_of(request, service.config.defaults, index)
            opened = await _open_session(params, service, client)
            by_token = request.stream and request.thoughts == "tokens"
            choices.append(Choice(opened, StopStringFilter(request.stops), by_token=by_token))
    except BaseException:
        _cancel_running(service, choices)
        raise
    completion = Completion(request.model, choices)
    client.count_tokens(completion.num_prompt)
    return completion


async def _open_session(params: SessionParams, service: Service, client: Client) -> Opened:
    """Open a session; an error about its problem names the messages, which it is made of."""
    try:
        return await service.sessions.open(params, tenant=client.name, leased=True)
    except FieldError as error:
        if error.param != "problem":
            raise
        raise FieldError("messages", str(error), code=error.code) from error


async def _stream(
    request: ChatRequest,
    completion: Completion,
    service: Service,
    client: Client,
    request_id: str,
) -> AsyncGenerator[bytes]:
    """Yield chunks as server-sent events; an error in between is the last one."""
    started: set[int] = set()
    sent = time.monotonic()
    try:
        async with aclosing(_follow_choices(completion, service, client)) as results:
            async for index, deltas in results:
                chunks = [] if deltas is None else [completion.chunk(index, one) for one in deltas]
                if deltas is not None and index not in started:
                    started.add(index)
                    chunks.insert(0, completion.opening(index))
                if completion.choices[index].done:
                    chunks.append(completion.closing(index))
                for chunk in chunks:
                    yield _event(chunk)
                if chunks:
                    sent = time.monotonic()
                elif time.monotonic() - sent > QUIET_SECONDS:
                    yield format_sse_event(comment="keep-alive")
                    sent = time.monotonic()
    except Exception as error:
        if not started:
            raise
        yield _event(error_body(500, sentence_of(error, request_id)))
        return
    if request.stream_options is not None and request.stream_options.include_usage:
        yield _event(completion.usage_chunk())
    yield format_sse_event(data_str="[DONE]")


async def _follow_choices(
    completion: Completion, service: Service, client: Client
) -> AsyncGenerator[tuple[int, list[ThoughtDelta | AnswerDelta] | None]]:
    """Yield the index and the new text of a choice for each group of updates, None if it is empty.

    A session that is still running when its choice is complete, or when this generator is closed,
    is cancelled.
    """
    queue: asyncio.Queue[ChoiceUpdate] = asyncio.Queue(QUEUED_UPDATES)
    choices = completion.choices
    tasks = [
        asyncio.create_task(_pump(queue, index, choice, service))
        for index, choice in enumerate(choices)
    ]
    try:
        while not all(choice.done for choice in choices):
            index, updates, error = await queue.get()
            choice = choices[index]
            if choice.done:  # updates fetched before its task was cancelled
                continue
            if error is not None:
                raise error
            before = choice.num_chosen
            deltas = [delta for update in updates for delta in choice.apply(update)]
            client.count_tokens(choice.num_chosen - before)
            if choice.done:
                tasks[index].cancel()
                _cancel_running(service, [choice])
            yield index, deltas if updates else None
    finally:
        for task in tasks:
            task.cancel()
        _cancel_running(service, [choice for choice in choices if not choice.done])
        service.metrics.count_tokens(completion.num_prompt, completion.num_completion)


async def _pump(
    queue: asyncio.Queue[ChoiceUpdate], index: int, choice: Choice, service: Service
) -> None:
    """Fetch the updates of one choice, as fast as the queue is read.

    Whatever ends it is put into the queue, so that nobody waits for updates that never come.
    """
    pace = Pace(service.metrics)
    reason: Exception = ClusterError("The session ended without its last update; open a new one.")
    try:
        async for updates in service.sessions.follow(choice.opened.id):
            pace.observe_steps(chosen_steps(updates))
            await queue.put((index, updates, None))
            await asyncio.sleep(GATHER_SECONDS if updates else 0)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        reason = ClusterError("A call of the session's group was cancelled; try again.")
    except Exception as error:
        reason = error
    await queue.put((index, [], reason))


def _cancel_running(service: Service, choices: Sequence[Choice]) -> None:
    """Cancel the sessions that are still running."""
    for choice in choices:
        if not choice.ended:
            service.sessions.cancel_in_background(choice.opened.id)


def _event(data: dict[str, Any]) -> bytes:
    return format_sse_event(data_str=json.dumps(data))


async def _prepended(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
