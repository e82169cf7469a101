"""Calls of a driver: each has a time limit, and every error is one sentence."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ray

from hogwild_dist.actors.errors import GoneError, SilentError, plain

CALL_SECONDS = 30.0
"""Time limit of a call, beyond the time for which the driver holds it on purpose."""


def get(reference: Any, held: float = 0.0, way_out: str = "") -> Any:
    """Return the result of a call, or raise its error in one sentence.

    Args:
        reference: the call.
        held: seconds for which the driver may hold the call on purpose.
        way_out: what to do if the driver has died, as the end of the error's sentence.

    Raises:
        SilentError: the driver has not answered in time.
    """
    limit = held + CALL_SECONDS
    try:
        return ray.get(reference, timeout=limit)
    except ray.exceptions.GetTimeoutError:
        raise _silent(limit) from None
    except ray.exceptions.RayError as error:
        told = plain(error)
        if isinstance(told, GoneError) and way_out:
            told = GoneError(f"{str(told).rstrip('.')}; {way_out}.")
        raise told from None


def wait(
    reference: Any, driver: Any, tell: Callable[[str], None] = lambda _: None, way_out: str = ""
) -> Any:
    """Wait for a long call of a driver, as long as the driver answers; report its progress.

    Raises:
        SilentError: the driver does not answer.
    """
    last = ""
    while not ray.wait([reference], timeout=0.5)[0]:
        progress = get(driver.progress.remote(), way_out=way_out)
        if progress != last:
            tell(progress)
            last = progress
    return get(reference, way_out=way_out)


async def get_async(reference: Awaitable[Any], held: float = 0.0) -> Any:
    """Return the result of a call; see `get`.

    Raises:
        SilentError: the driver has not answered in time.
        CancelledError: Ray cancelled the call because its caller is being cancelled.
    """
    limit = held + CALL_SECONDS
    try:
        async with asyncio.timeout(limit):
            return await reference
    except ray.exceptions.TaskCancelledError:
        raise asyncio.CancelledError from None  # the group is not at fault
    except ray.exceptions.RayError as error:
        raise plain(error) from None
    except TimeoutError:
        raise _silent(limit) from None


def _silent(seconds: float) -> SilentError:
    return SilentError(f"The group's driver has not answered for {seconds:g} s; try again later.")
