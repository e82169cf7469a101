"""Drivers by name: starting one, finding one, and ending one in whatever state it is."""

import asyncio
import shlex
import time
from collections.abc import Callable
from typing import Any

import ray

from hogwild_dist.actors.client.calls import get
from hogwild_dist.actors.driver.driver import Driver
from hogwild_dist.actors.errors import (
    ClusterError,
    GoneError,
    LostError,
    NameTakenError,
    SilentError,
)
from hogwild_dist.actors.placement.cleanup import kill_leftovers
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings, check_group_name
from hogwild_dist.actors.shard.info import GroupInfo
from hogwild_dist.errors import ConfigError

MAX_READERS = 10_000
"""Clients of a driver that may wait for updates at the same time; others wait for their turn."""

MAX_CALLS = 1_000
"""Other concurrent calls of a driver."""

STOP_SECONDS = 10.0
"""Time for a driver to stop before it is killed."""

NAME_FREE_SECONDS = 10.0
"""Time for Ray to free the name of a driver that has ended."""


def end_group(name: str) -> None:
    """End a named group in whatever state it is; its shards are ended even if its driver hangs.

    Raises:
        ClusterError: there is no group of that name.
    """
    if not end(find_driver(name)):
        asyncio.run(kill_leftovers(name))


def find_driver(name: str) -> Any:
    """Return the driver of a named group.

    Raises:
        ClusterError: there is no group of that name.
        ConfigError: no group can have that name.
    """
    check_group_name(name)
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise GoneError(
            f"No group named {name!r} runs on this cluster; start it with "
            f"`hogwild group start {name}`, or with `hogwild group restore {name} --journal "
            "FOLDER` if it had a journal."
        ) from error


def new_driver(settings: GroupSettings, name: str | None, tell: Callable[[str], None]) -> Any:
    """Return a new driver; it takes the place of a lost group of its name.

    Raises:
        NameTakenError: a group of that name is already running.
        ConfigError: no group can have that name.
    """
    if name is not None:
        check_group_name(name)
    elif settings.journal is not None:
        raise ConfigError(
            f"The journal {settings.journal!r} needs a group with a name, by which its sessions "
            "are found again; name the group."
        )
    remote: Any = ray.remote(concurrency_groups={"readers": MAX_READERS})(Driver)  # type: ignore[call-overload]
    actor = remote.options(
        num_cpus=0,
        name=name,
        namespace=NAMESPACE,
        lifetime="detached" if name else None,
        max_restarts=0,
        max_concurrency=MAX_CALLS,
        enable_task_events=False,  # Ray's head node would keep an event for every read
    )
    deadline = time.monotonic() + NAME_FREE_SECONDS
    while True:
        try:
            return actor.remote(settings, name)
        except ValueError as error:
            assert name is not None, "only a name can be taken"
            if time.monotonic() > deadline or not _make_way(name, tell):
                raise _name_taken(name) from error
        time.sleep(0.1)


def _make_way(name: str, tell: Callable[[str], None]) -> bool:
    """End a group if it is lost; return whether its name is free, or will be in a moment.

    Raises:
        NameTakenError: its driver does not answer.
    """
    try:
        driver = find_driver(name)
        get(driver.info.remote())
    except GoneError:
        return True
    except LostError:
        tell(f"ending the lost group {name!r}")
        end(driver)
        return True
    except SilentError as error:
        raise NameTakenError(
            f"There is a group named {name!r} whose driver does not answer; end it with "
            f"`hogwild group stop {name}`, or choose another name."
        ) from error
    except ClusterError:  # it is being started
        return False
    return False


def _name_taken(name: str) -> NameTakenError:
    return NameTakenError(
        f"A group named {name!r} is already running; use it with `hogwild run --attach {name}`, "
        f"stop it with `hogwild group stop {name}`, or choose another name."
    )


def described(name: str, driver: Any) -> GroupInfo:
    """Return the description of a running group, or say what can be done about it."""
    end = f"end it with `hogwild group stop {name}`"
    try:
        info: GroupInfo = get(driver.info.remote())
    except LostError as error:
        back = way_back(name, get(driver.settings.remote()))
        raise LostError(f"{str(error).rstrip('.')}; {back}, or {end}.") from error
    except SilentError as error:
        raise SilentError(f"{str(error).rstrip('.')}, or {end}.") from error
    return info


def way_back(name: str, settings: GroupSettings) -> str:
    """Return how a group that is lost is brought back, as the end of a sentence."""
    if settings.journal is None:
        return f"start it anew with `hogwild group start {name}`"
    journal = shlex.quote(settings.journal)
    return f"bring its sessions back with `hogwild group restore {name} --journal {journal}`"


def end(driver: Any) -> bool:
    """Stop a driver and all that it started, and return whether it answered.

    A driver that is already dead is no error.
    """
    try:
        ray.get(driver.stop.remote(), timeout=STOP_SECONDS)
        answered = True
    except ray.exceptions.RayError:
        answered = False
    ray.kill(driver)
    return answered
