"""Health routes: whether the process answers, and whether a group can write."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.deploy.service.errors import RESPONSES
from hogwild_dist.deploy.service.http.dependencies import ServiceDep
from hogwild_dist.deploy.service.sessions.group_router import NOT_READY

ANSWER_SECONDS = 1.0
"""Time for a group to say whether it is ready."""

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The response of a process that is alive."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The ready groups and their sessions; each group has passed a probe that writes a token."""

    status: Literal["ready"] = "ready"
    groups: int
    running: int
    waiting: int


@router.get("/healthz")
async def healthz() -> Alive:
    """Report that this process answers."""
    return Alive()


@router.get("/readyz", responses={503: RESPONSES[503]})
async def readyz(service: ServiceDep) -> Ready:
    """Report whether a group accepts sessions; one that does not answer at once does not count."""
    loads = await service.sessions.groups.loads(ANSWER_SECONDS)
    if not loads:
        raise ClusterError(NOT_READY)
    return Ready(
        groups=len(loads),
        running=sum(load.running for load in loads.values()),
        waiting=sum(load.waiting for load in loads.values()),
    )
