"""The deployment `Group`: each replica manages one group of shards at a time, and no sessions."""

import asyncio
import contextlib
import logging
import math
import uuid

from hogwild_dist import Limits, Team
from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.driver.durable_log import has_open_sessions
from hogwild_dist.actors.errors import (
    ClusterError,
    GoneError,
    LogError,
    LostError,
    NameTakenError,
)
from hogwild_dist.actors.logs import write_structured
from hogwild_dist.actors.watched import watch
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.replicas.autoscaling import SESSIONS
from hogwild_dist.errors import HogwildError
from hogwild_dist.model.hub import resolve_model
from hogwild_dist.model.loader import load_tokenizer
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.session_request import SessionRequest

log = logging.getLogger("hogwild_dist.service")

LEASE_SECONDS = 10.0
"""A group whose replica has not renewed its lease for this long may be adopted by another."""

READABLE_SECONDS = 10.0
"""Time for which the text of a group that has lost its shards for good can still be read."""

POLL_SECONDS = 0.5
"""Time between two searches for a group to adopt."""


class GroupReplica:
    """A Serve replica that adopts a group without a replica, or starts one.

    Sessions live in the group and survive the end of this replica. In the place of a group that is
    lost, the replica starts another one.

    Args:
        config: configuration of the service.
    """

    async def __init__(self, config: ServiceConfig) -> None:  # type: ignore[misc]
        write_structured(service=config.name)
        self._config = config
        self._id = uuid.uuid4().hex
        self._leased = False
        self._lease_task: asyncio.Task[None] | None = None
        self._restart: asyncio.Task[None] | None = None
        self._probe_request = _probe_request(config)
        self._group = await self._adopt() or await self._start()
        self._leased = True
        self._keep_leased()

    async def check_health(self) -> None:
        """Check the group; Serve calls this also before the replica counts as started.

        While another group is started in the place of a lost one, there is nothing to check.

        Raises:
            HogwildError: the group writes no token, or this replica has lost its lease, or no other
                group could be started; Serve replaces the replica.
        """
        if not self._leased:
            raise ClusterError(
                f"{self._group.name} is ending, or another replica manages it; Serve replaces this "
                "replica."
            )
        if self._restart is not None and not self._restart.done():
            return
        if self._restart is not None:
            self._restart.result()
        try:
            await self._probe()
        except (GoneError, LostError) as error:
            log.error("%s is lost, and started again: %s", self._group.name, error)
            seconds = READABLE_SECONDS if isinstance(error, LostError) else 0.0
            self._restart = asyncio.create_task(self._start_again(seconds))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the load that `autoscaling.wanted_groups` sums up."""
        with contextlib.suppress(ClusterError):  # the health check names it
            return {SESSIONS: float((await self._group.load()).running)}
        return {SESSIONS: 0.0}

    async def __del__(self) -> None:
        """Retire the group: Serve ends this replica on purpose, possibly during its start."""
        for task in (self._lease_task, self._restart):
            if task is not None:
                task.cancel()
        if self._leased:
            self._leased = False  # and no group is started in its place
            with contextlib.suppress(ClusterError):  # a group that is gone needs not be retired
                await self._group.retire(self._config.scale.drain_seconds)

    async def _adopt(self) -> AsyncShardGroup | None:
        """Adopt a running group that no replica manages, if there is one; end unusable groups.

        The group of a replica that has just died becomes free when its lease runs out. A group
        whose lease is renewed in the meantime has a replica.
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
        """Return all running groups of the service."""
        found = []
        for slot in range(self._config.num_slots):
            with contextlib.suppress(GoneError):
                found.append(AsyncShardGroup(self._config.group_name(slot)))
        return found

    async def _try_lease(self, group: AsyncShardGroup) -> float:
        """Lease a group; return 0, or the seconds for which another replica still has the lease."""
        try:
            left = await group.lease(self._id, LEASE_SECONDS)
            if left > 0.0 or await self._is_usable(group):
                return left
            await group.end()
        except ClusterError:
            log.info("%s does not answer", group.name)
        return math.inf

    async def _is_usable(self, group: AsyncShardGroup) -> bool:
        """Return whether a group works, or will, and was started with this service's settings."""
        load = await group.load()
        if not load.ready and not load.restoring:
            return False
        return await group.settings() == self._config.group_settings()

    async def _start(self, first: str = "") -> AsyncShardGroup:
        """Start a group in the first slot that is free, and whose journal it can go on with.

        Args:
            first: name that the group takes if it can.

        Raises:
            HogwildError: no group can be started.
        """
        settings = self._config.group_settings()
        failure: LogError | None = None
        for name in await asyncio.to_thread(self._names, first):
            try:
                await asyncio.to_thread(ShardGroup.start, settings, name=name, tell=log.info)
            except NameTakenError:
                continue
            except LogError as error:
                log.error("%s is not started: %s", name, error)
                failure = error
                continue
            group = AsyncShardGroup(name)
            if await group.lease(self._id, LEASE_SECONDS) == 0.0:
                log.info("started %s", name)
                return group
        raise failure or ClusterError(
            f"All {self._config.num_slots} slots of {self._config.name!r} have groups; wait until "
            "one ends."
        )

    def _names(self, first: str) -> list[str]:
        """Return the names that a group may take: `first`, then those whose sessions go on."""
        names = [self._config.group_name(slot) for slot in range(self._config.num_slots)]
        taken = {group.name for group in self._running()}
        awaited = {name: name not in taken and self._is_awaited(name) for name in names}
        return sorted(names, key=lambda name: (name == first, awaited[name]), reverse=True)

    def _is_awaited(self, name: str) -> bool:
        """Return whether a journal has sessions that go on once a group has this name."""
        if self._config.journal is None:
            return False
        try:
            return has_open_sessions(self._config.journal, name)
        except LogError:  # who starts the group is told
            return False

    async def _start_again(self, seconds: float) -> None:
        """Start a group in the place of one that is lost, in some seconds."""
        await asyncio.sleep(seconds)
        self._group = await self._start(self._group.name)
        await self._probe()

    async def _probe(self) -> None:
        await self._group.probe(self._probe_request, self._config.health_seconds)

    def _keep_leased(self) -> None:
        """Keep the lease in the background."""
        self._lease_task = asyncio.create_task(self._keep_lease())
        watch(self._lease_task, self._lose_lease)

    async def _keep_lease(self) -> None:
        """Renew the lease, and notice if another replica has taken it."""
        told = ""
        while True:
            try:
                self._leased = await self._group.lease(self._id, LEASE_SECONDS) == 0.0
                told = ""
            except GoneError:
                pass  # the health check names it
            except HogwildError as error:
                if str(error) != told:
                    log.warning("%s does not answer: %s", self._group.name, error)
                told = str(error)
            await asyncio.sleep(LEASE_SECONDS / 4)

    def _lose_lease(self, error: Exception) -> None:
        """Let the next health check fail: the lease is not renewed any more."""
        log.error("the lease of %s is not renewed", self._group.name, exc_info=error)
        self._leased = False


def _probe_request(config: ServiceConfig) -> SessionRequest:
    """Return a session of one worker that writes one token."""
    team = Team(names=("Alice",), layout=LAYOUTS["independent"], limits=Limits(max_tokens=1))
    problem = "Say hello."
    spec = team.spec(problem, load_tokenizer(resolve_model(config.load_settings.model)))
    return SessionRequest(problem=problem, team=team, spec=spec)
