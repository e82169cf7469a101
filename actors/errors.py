"""Errors of the cluster, in one sentence each, and errors that came back from an actor."""

import ray.exceptions

from hogwild_dist.errors import HogwildError


class ClusterError(HogwildError):
    """The cluster is not there, too small, or has lost what it ran."""


def plain(error: Exception) -> Exception:
    """The error itself, without Ray's report of where it came from.

    Args:
        error: from `ray.get` or an awaited reference.
    """
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        if isinstance(cause, HogwildError):
            return cause
        return ClusterError(f"An actor failed: {type(cause).__name__}: {_first_line(cause)}")
    if isinstance(error, ray.exceptions.ActorDiedError):
        return ClusterError(f"An actor died: {_first_line(error)}")
    if isinstance(error, ray.exceptions.RayError):
        return ClusterError(f"Ray failed: {_first_line(error)}")
    return error


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)
