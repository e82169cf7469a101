"""Errors of the cluster, in one sentence each, and errors that came back from an actor."""

import ray.exceptions

from hogwild_dist.errors import HogwildError, first_line


class ClusterError(HogwildError):
    """The cluster is not there, too small, or has lost what it ran."""


class GoneError(ClusterError):
    """A group is not there, or not there any more, and its sessions with it."""


class NameTakenError(ClusterError):
    """A group of that name runs already."""


def plain(error: Exception) -> Exception:
    """The error itself, without Ray's report of where it came from.

    Args:
        error: from `ray.get` or an awaited reference.
    """
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        if isinstance(cause, HogwildError):
            return cause
        return ClusterError(f"An actor failed: {type(cause).__name__}: {first_line(cause)}")
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return ClusterError("The driver of the group cannot be reached for now; try again soon.")
    if isinstance(error, ray.exceptions.RayActorError):
        return GoneError(str(death("The driver of the group", error)))
    if isinstance(error, ray.exceptions.RayError):
        return ClusterError(f"Ray failed: {first_line(error)}")
    return error


def death(who: str, error: Exception) -> ClusterError:
    """That an actor's process has ended, and why as far as Ray knows.

    Args:
        who: the actor, at the beginning of a sentence.
        error: what a call of it raised.
    """
    if "memory usage threshold" in str(error):
        return ClusterError(
            f"{who} was ended by Ray since its node ran out of memory; use fewer shards a node, a "
            "smaller model or --dtype bfloat16."
        )
    return ClusterError(
        f"{who} died: its process was killed, crashed or ran out of memory; its node's "
        "/tmp/ray/session_latest/logs may say why."
    )
