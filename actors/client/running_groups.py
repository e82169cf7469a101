"""Which groups run on a cluster, and how they are."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray

from hogwild_dist.actors.errors import plain
from hogwild_dist.actors.settings import GROUP_NAME, NAMESPACE
from hogwild_dist.actors.shard.info import GroupInfo

ANSWER_SECONDS = 5.0
"""Time for the drivers of all groups to answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSummary:
    """Short description of a group, for lists.

    Attributes:
        name: name of the group.
        state: what the group is doing, or why no more is known of it.
        info: description of the group, None if it is not ready, lost or does not answer.
    """

    name: str
    state: str
    info: GroupInfo | None = None


def running_groups() -> list[GroupSummary]:
    """Return a summary of each named group, by name; a driver that hangs keeps nobody waiting."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    own = (one["name"] for one in actors if one["namespace"] == NAMESPACE)
    asked: dict[str, tuple[Any, Any]] = {}
    for name in sorted(filter(GROUP_NAME.fullmatch, own)):
        with suppress(ValueError):  # it has ended in the meantime
            driver: Any = ray.get_actor(name, namespace=NAMESPACE)
            asked[name] = (driver.info.remote(), driver.progress.remote())
    answers = [reference for references in asked.values() for reference in references]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=ANSWER_SECONDS)
    return [_summary(name, *references) for name, references in asked.items()]


def _summary(name: str, info: Any, progress: Any) -> GroupSummary:
    try:
        return GroupSummary(
            name=name, info=ray.get(info, timeout=0), state=ray.get(progress, timeout=0)
        )
    except ray.exceptions.GetTimeoutError:
        return GroupSummary(name=name, state="does not answer")
    except ray.exceptions.RayError as error:
        return GroupSummary(name=name, state=str(plain(error)))
