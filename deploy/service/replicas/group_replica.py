"""The deployment `Group`: each replica manages one group of shards and holds no state."""

import asyncio
import contextlib
import logging
import math
import uuid

from hogwild_dist import Limits, Team
from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.errors import ClusterError, GoneError, NameTakenError
from hogwild_dist.actors.logs import write_structured
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.replicas.autoscaling import SESSIONS
from hogwild_dist.errors import HogwildError
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loader import load_tokenizer
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.session_request import SessionRequest

log = logging.getLogger("hogwild_dist.service")

LEASE_SECONDS = 10.0
"""A group whose adapter has not been heard of for so long may be adopted by another."""

POLL_SECONDS = 0.5
"""Between two looks for such a group."""


class GroupReplica:
    """Adopts a group whose adapter is gone, or starts one; sessions outlive this replica.

    Args:
        config: of the service.
    """

    async def __init__(self, config: ServiceConfig) -> None:  # type: ignore[misc]
        write_structured(service=config.name)
        self._config = config
        self._id = uuid.uuid4().hex
        self._leased = False
        self._lease_task: asyncio.Task[None] | None = None
        self._probe_request = _probe_request(config)
        self._group = await self._adopt() or await self._start()
        self._leased = True
        self._lease_task = asyncio.create_task(self._keep_lease())

    async def check_health(self) -> None:
        """Serve's question, the first time before the replica counts as started.

        Raises:
            HogwildError: the group writes no token, or is not this replica's; it will be replaced.
        """
        if not self._leased:
            raise ClusterError(
                f"{self._group.name} ends, or another replica looks after it; this one is replaced."
            )
        await self._group.probe(self._probe_request, self._config.health_seconds)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `autoscaling.wanted_groups` counts."""
        return {SESSIONS: float((await self._group.load()).running)}

    async def __del__(self) -> None:
        """Serve ends this replica on purpose, perhaps while it starts: let the sessions end."""
        if self._lease_task is not None:
            self._lease_task.cancel()
        if self._leased:
            await self._group.retire(self._config.scale.drain_seconds)

    async def _adopt(self) -> AsyncShardGroup | None:
        """A running group that nobody looks after; one that is of no use is ended.

        That of an adapter that has just died is free only when its lease has run out. Those whose
        lease grows meanwhile are looked after.
        """
        leases: dict[str, float] = {}
        while groups := [one for one in self._running() if leases.get(one.name, 0.0) < math.inf]:
            for group in groups:
                seconds = await self._try_lease(group)
                if seconds == 0.0:
                    log.info("adopted %s", group.name)
                    return group
                renewed = seconds > leases.get(group.name, math.inf)
                leases[group.name] = math.inf if renewed else seconds
            await asyncio.sleep(POLL_SECONDS)
        return None

    def _running(self) -> list[AsyncShardGroup]:
        """The groups that there are, whoever looks after them."""
        found = []
        for slot in range(self._config.num_slots):
            with contextlib.suppress(GoneError):
                found.append(AsyncShardGroup(self._config.group_name(slot)))
        return found

    async def _try_lease(self, group: AsyncShardGroup) -> float:
        """Take a group; returns for how many seconds it is another's, 0 where it is taken."""
        try:
            left = await group.lease(self._id, LEASE_SECONDS)
            if left > 0.0 or await self._is_usable(group):
                return left
            await group.end()
        except ClusterError:
            log.info("%s does not answer", group.name)
        return math.inf

    async def _is_usable(self, group: AsyncShardGroup) -> bool:
        """Whether a group writes, and was started with what this service asks for."""
        if not (await group.load()).ready:
            return False
        return (await group.info()).settings == self._config.group_settings()

    async def _start(self) -> AsyncShardGroup:
        """A new group, in the first slot that is free."""
        settings = self._config.group_settings()
        for slot in range(self._config.num_slots):
            name = self._config.group_name(slot)
            try:
                await asyncio.to_thread(ShardGroup.start, settings, name=name, tell=log.info)
            except NameTakenError:
                continue
            group = AsyncShardGroup(name)
            if await group.lease(self._id, LEASE_SECONDS) == 0.0:
                log.info("started %s", name)
                return group
        raise ClusterError(
            f"All {self._config.num_slots} groups of {self._config.name!r} are taken; wait for "
            "some to end."
        )

    async def _keep_lease(self) -> None:
        """Show the group that it is looked after, and notice where another took it meanwhile."""
        while True:
            try:
                self._leased = await self._group.lease(self._id, LEASE_SECONDS) == 0.0
            except HogwildError as error:
                log.warning("%s does not answer: %s", self._group.name, error)
            await asyncio.sleep(LEASE_SECONDS / 4)


def _probe_request(config: ServiceConfig) -> SessionRequest:
    """One worker who writes one token."""
    team = Team(names=("Alice",), layout=LAYOUTS["independent"], limits=Limits(max_tokens=1))
    problem = "Say hello."
    spec = team.spec(problem, load_tokenizer(resolve_model(config.load_settings.model)))
    return SessionRequest(problem=problem, team=team, spec=spec)
