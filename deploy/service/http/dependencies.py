"""What the routes share: the service's parts, and who asks."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from hogwild_dist.actors.driver.journal import SessionSnapshot
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.errors import ApiError
from hogwild_dist.deploy.service.keys import Client, Keyring
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from hogwild_dist.deploy.service.sessions.ids import SessionId
from hogwild_dist.deploy.service.sessions.session_service import SessionService


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of an ingress.

    Attributes:
        config: of the service.
        sessions: speaks to the groups.
        keyring: knows the clients.
        metrics: count.
    """

    config: ServiceConfig
    sessions: SessionService
    keyring: Keyring
    metrics: ServiceMetrics


@dataclass(frozen=True, slots=True)
class NamedSession:
    """A session that a request names."""

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


async def _found(service: ServiceDep, session: str) -> NamedSession:
    return NamedSession(*await service.sessions.snapshot(session))


ReadableSession = Annotated[NamedSession, Depends(_found)]
"""A session that may be read by whoever knows its name."""


def _own(found: ReadableSession, client: ClientDep) -> NamedSession:
    if found.snapshot.owner.tenant != client.name:
        raise ApiError(403, "The session belongs to another key; it can be read, not changed.")
    return found


OwnedSession = Annotated[NamedSession, Depends(_own)]
"""A session of the client's own."""
