"""Cluster errors, and the translation of Ray's errors into one sentence each."""

import re

import ray.exceptions

from hogwild_dist.errors import ConfigError, HogwildError, first_line

LOGS = "/tmp/ray/session_latest/logs"
"""Folder of Ray's logs on every node, unless `RAY_TMPDIR` or `TMPDIR` moves it."""


class ClusterError(HogwildError):
    """The cluster cannot be reached, is too small, or lost a group."""


class GoneError(ClusterError):
    """A group does not exist, or no longer exists, and neither do its sessions."""


class SilentError(ClusterError):
    """A group's driver does not answer; it may be stopped or overloaded."""


class AllLostError(ClusterError):
    """All shards of a group are lost; what its sessions have shown is not."""


class LostError(ClusterError):
    """A group has lost its shards, or was stopped; its driver only keeps the text so far."""


class LogError(HogwildError):
    """The durable log of a group cannot be read or written."""


class EndedError(ConfigError):
    """A session has ended, and cannot be changed."""


class NameTakenError(ClusterError):
    """A group of that name is already running."""


def plain(error: Exception) -> Exception:
    """Return the underlying error, without Ray's traceback.

    Args:
        error: raised by `ray.get` or by awaiting a reference.
    """
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        if isinstance(cause, HogwildError):
            return cause
        return ClusterError(f"An actor failed: {type(cause).__name__}: {first_line(cause)}")
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return ClusterError(
            "The group's driver cannot be reached right now; try again in a moment."
        )
    if isinstance(error, ray.exceptions.RayActorError):
        return GoneError(str(death("The group's driver", error)))
    if isinstance(error, ray.exceptions.RayError):
        return ClusterError(f"Ray failed: {first_line(error)}")
    return error


def reason_of(error: Exception) -> str:
    """Return an error in one sentence, also one that nobody expected."""
    told = plain(error)
    if isinstance(told, HogwildError):
        return str(told)
    return (
        f"The group's driver failed: {type(told).__name__}: {first_line(told).rstrip('.')}; look "
        "for the details in its log."
    )


def is_death(error: Exception) -> bool:
    """Return whether an error says that the called actor died."""
    return isinstance(error, ray.exceptions.RayActorError | ray.exceptions.OutOfMemoryError)


def death(who: str, error: Exception) -> ClusterError:
    """Return an error that says an actor died, and why if Ray knows.

    Args:
        who: the actor, as the subject of a sentence.
        error: raised by a call of the actor.
    """
    told = str(error)
    if "memory usage threshold" in told:
        return ClusterError(
            f"{who} was killed by Ray because its node ran out of memory; use fewer shards per "
            "node, a smaller model or --dtype bfloat16."
        )
    if "raised in its creation task" in told:
        reason = told.strip().splitlines()[-1].strip()
        way_out = (
            "install the same packages on every node"
            if reason.startswith(("ImportError", "ModuleNotFoundError"))
            else f"look for the details in {LOGS} on its node"
        )
        return ClusterError(f"{who} could not start: {reason.rstrip('.')}; {way_out}.")
    if code := re.search(r"exit code (\d+)", told):
        return ClusterError(
            f"{who} died: its process ended with exit code {code[1]}; look for the reason in "
            f"{_log(told)} on its node."
        )
    return ClusterError(
        f"{who} died: its process was killed or crashed (Ray knows no more); look for the "
        f"reason in {_log(told)} on its node."
    )


def _log(told: str) -> str:
    """Return the log of a dead actor, or the folder of all logs if its process is not told."""
    process = re.search(r"^\tpid: (\d+)$", told, re.MULTILINE)
    return f"{LOGS}/worker-*-{process[1]}.err" if process else LOGS
