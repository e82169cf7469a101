"""What of this project runs on the cluster."""

import time
from collections import Counter
from collections.abc import Callable

from ray._private import state
from ray.util.placement_group import placement_group_table


def actors() -> list[str]:
    """Class names of the live actors."""
    return sorted(
        info["ActorClassName"] for info in state.actors().values() if info["State"] not in ("DEAD",)
    )


def rooms() -> list[str]:
    """States of the placement groups that are not removed."""
    states = [group["state"] for group in placement_group_table().values()]
    return [state for state in states if state != "REMOVED"]


def settles(before: tuple[list[str], list[str]], seconds: float = 20.0) -> bool:
    """Whether actors and placement groups come to be no more than `before`: ends take time."""

    def nothing_more() -> bool:
        pairs = zip(now(), before, strict=True)
        return not any(Counter(present) - Counter(past) for present, past in pairs)

    return comes_true(nothing_more, seconds)


def comes_true(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes to hold in time."""
    late = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > late:
            return False
        time.sleep(0.1)
    return True


def now() -> tuple[list[str], list[str]]:
    return actors(), rooms()
