"""Containment: an error in what concerns one session ends that session, and no other.

Every shard runs a session's rules on the same input, so that an error in them meets all shards at
the same step. What only the shard of a worker can see travels in its report: that its scores are
not numbers.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hogwild_dist.errors import ExchangeError, HogwildError, SessionError, ShardError, first_line
from hogwild_dist.session.events import Event
from hogwild_dist.session.session import Session
from hogwild_dist.session.worker import Worker

log = logging.getLogger("hogwild_dist.session")


def contain(
    session: Session, action: Callable[[], Iterable[Event]], *, in_flight: bool = False
) -> list[Event]:
    """Return the events of an action on a session; an error in the action ends the session.

    Args:
        session: the session.
        action: runs rules of the session.
        in_flight: whether a step of the session is in flight, which then is its last.

    Raises:
        ExchangeError: a shard is lost, cannot go on, or disagrees, which concerns all sessions.
    """
    try:
        return list(action())
    except ExchangeError:
        raise
    except MemoryError as error:
        raise ShardError(f"This shard is out of memory ({error}); look at its log.") from error
    except Exception as error:
        failure = failure_of(session, error)
        if not in_flight:
            return session.break_off(failure)
        session.fail_after_step(failure)
        return []


@contextmanager
def shard_errors(rank: int) -> Iterator[None]:
    """Say of an error in a forward pass that it is one of this shard: its peers may not have it.

    Raises:
        ShardError: the forward pass failed.
    """
    try:
        yield
    except HogwildError:
        raise
    except Exception as error:
        raise ShardError(
            f"Shard {rank} failed in a forward pass ({type(error).__name__}: "
            f"{first_line(error)}); look at its log."
        ) from error


def failure_of(session: Session, error: Exception) -> HogwildError:
    """Return the error for the readers of a session, after an error in its rules."""
    if isinstance(error, HogwildError):
        return error
    log.error("session failed", exc_info=error, extra={"session": session.id})
    return SessionError(
        f"Session {session.id} failed at step {session.step} ({type(error).__name__}: "
        f"{first_line(error)}); its text is kept, and the traceback is in the shards' logs."
    )


def no_numbers(worker: Worker) -> SessionError:
    """Return the error for a worker for which no token can be chosen."""
    return SessionError(
        f"The model's scores for {worker.spec.name!r} are not numbers (NaN or infinite), so no "
        "token can be chosen: its weights are damaged, or too large for the dtype; use another "
        "--dtype, such as float32, or another model."
    )
