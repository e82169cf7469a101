"""Whether the process is alive, and whether a group writes."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from hogwild_dist.deploy.service.errors import RESPONSES
from hogwild_dist.deploy.service.http.dependencies import ServiceDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Groups that take sessions; each has proved that it writes tokens."""

    status: Literal["ready"] = "ready"
    groups: int
    running: int
    waiting: int


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether this process answers."""
    return Alive()


@router.get("/readyz", responses={503: RESPONSES[503]})
async def readyz(service: ServiceDep) -> Ready:
    """Whether a group takes sessions."""
    _, loads = await service.sessions.groups.least_loaded()
    return Ready(
        groups=len(loads),
        running=sum(load.running for load in loads.values()),
        waiting=sum(load.waiting for load in loads.values()),
    )
