"""Dependencies of the routes: the service, the client, and the session in the path."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from hogwild_dist.actors.driver.session_record import SessionSnapshot
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.errors import ApiError
from hogwild_dist.deploy.service.http.request_ids import REQUEST_ID
from hogwild_dist.deploy.service.keys import Client, Keyring
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.deploy.service.sessions.session_service import SessionService


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes of an ingress use.

    Attributes:
        config: configuration of the service.
        sessions: sessions on all groups.
        keyring: the clients' keys.
        metrics: metrics of the ingress.
    """

    config: ServiceConfig
    sessions: SessionService
    keyring: Keyring
    metrics: ServiceMetrics


@dataclass(frozen=True, slots=True)
class NamedSession:
    """The session that a request names, and its state."""

    id: SessionId
    snapshot: SessionSnapshot


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def _client(service: ServiceDep, authorization: Annotated[str | None, Header()] = None) -> Client:
    return service.keyring.client(authorization)


ClientDep = Annotated[Client, Depends(_client)]
"""The client whose key came with the request."""


def _request_id(request: Request) -> str:
    found: str = request.scope[REQUEST_ID]
    return found


RequestIdDep = Annotated[str, Depends(_request_id)]
"""The id under which the request is logged."""


async def _found(service: ServiceDep, session: str) -> NamedSession:
    return NamedSession(*await service.sessions.snapshot(session))


ReadableSession = Annotated[NamedSession, Depends(_found)]
"""A session that may be read by any client that knows its name."""


def _own(found: ReadableSession, client: ClientDep) -> NamedSession:
    if found.snapshot.owner.tenant != client.name:
        raise ApiError(403, "The session belongs to another key; it can be read but not changed.")
    return found


OwnSession = Annotated[NamedSession, Depends(_own)]
"""A session that belongs to the client."""


def _running(found: OwnSession) -> NamedSession:
    summary = found.snapshot.summary
    if summary.end_reason is not None or summary.error is not None:
        raise ApiError(409, "The session has ended; open a new one.")
    return found


RunningSession = Annotated[NamedSession, Depends(_running)]
"""A session that belongs to the client and has not ended."""
