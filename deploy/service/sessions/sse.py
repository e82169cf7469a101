"""The server-sent events of a session, in the native interface."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi.sse import format_sse_event

from hogwild_dist.actors.driver.session_record import SessionSnapshot
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.deploy.service.failures import report_failure, sentence_of
from hogwild_dist.deploy.service.metrics import Pace, ServiceMetrics
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.deploy.service.sessions.schema import answer_of, state_of
from hogwild_dist.deploy.service.sessions.session_service import SessionService
from hogwild_dist.engine.updates import Update
from hogwild_dist.errors import HogwildError
from hogwild_dist.session.events import Text

GATHER_SECONDS = 0.03
"""Updates that arrive within this time are sent together."""


async def session_events(
    sessions: SessionService,
    metrics: ServiceMetrics,
    session: SessionId,
    snapshot: SessionSnapshot,
    *,
    after: int,
    request_id: str,
) -> AsyncIterator[bytes]:
    """Yield the updates of a session after a given one as they arrive, and its end.

    An error that ends the session ends the events, and the last one says it. If the session goes
    on but cannot be followed at present, the events end without one: the client can resume.

    Args:
        sessions: source of the updates.
        metrics: records the time between tokens.
        session: name of the session.
        snapshot: snapshot of the session, taken before.
        after: number of the last update that the client has; a session that was brought back may
            still have to write it again.
        request_id: id under which a failure is logged.
    """
    if state_of(snapshot) == "waiting":
        yield _waiting(snapshot)
    pace, number = Pace(metrics), after
    try:
        async for updates in sessions.follow(session, after):
            for update in updates:
                number += 1
                yield _message(update, number)
            if not number:
                yield _waiting((await sessions.snapshot(str(session)))[1])
            elif not updates:
                yield format_sse_event(comment="keep-alive")
            elif after < number and not snapshot.summary.end_reason:
                pace.observe_steps(chosen_steps(updates))
                await asyncio.sleep(GATHER_SECONDS)
    except HogwildError:
        pass  # the `end` event reports the error
    except Exception as error:
        yield _failed(report_failure(error, request_id))
        return
    if (end := await _end(sessions, session, request_id)) is not None:
        yield end


def chosen_steps(updates: list[Update]) -> int:
    """Return the number of updates in which a token was chosen."""
    return sum(
        any(isinstance(event, Text) and event.chosen for event in update.events)
        for update in updates
    )


def _waiting(snapshot: SessionSnapshot) -> bytes:
    return format_sse_event(event="waiting", data_str=json.dumps({"ahead": snapshot.ahead}))


def _message(update: Update, number: int) -> bytes:
    data = {
        "step": update.step,
        "seconds": round(update.seconds, 6),
        "events": [event.to_json() for event in update.events],
    }
    return format_sse_event(event="update", id=str(number), data_str=json.dumps(data))


def _failed(message: str) -> bytes:
    end = {"state": "failed", "end_reason": None, "error": message, "answer": None}
    return format_sse_event(event="end", data_str=json.dumps(end))


async def _end(sessions: SessionService, session: SessionId, request_id: str) -> bytes | None:
    """Return the last event, with the session's state and answer; None if there is a next one."""
    try:
        _, snapshot = await sessions.snapshot(str(session))
    except ClusterError:
        return None
    except Exception as error:
        return _failed(sentence_of(error, request_id))
    state = state_of(snapshot)
    if state not in {"ended", "failed"}:
        return None
    end = {
        "state": state,
        "end_reason": snapshot.summary.end_reason,
        "error": snapshot.summary.error,
        "answer": answer_of(snapshot),
    }
    return format_sse_event(event="end", data_str=json.dumps(end))
