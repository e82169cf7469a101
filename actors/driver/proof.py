"""Proof that a group writes."""

import time
from collections.abc import Awaitable, Callable

from hogwild_dist.actors.driver.journal import HEALTH, Journal, Owner
from hogwild_dist.actors.errors import ClusterError


async def probe(
    journal: Journal, open_session: Callable[..., Awaitable[int]], seconds: float
) -> None:
    """See a worker choose a token, in a session of its own where nobody has written lately.

    Args:
        journal: of the group's driver.
        open_session: starts a short session for its `owner`.
        seconds: how old the proof may be, and how long to wait for a new one.

    Raises:
        ClusterError: no token came.
    """
    begin = time.monotonic()
    if begin < journal.last_token + seconds:
        return
    session = await open_session(owner=Owner(tenant=HEALTH, seconds=seconds, kept=False))
    record, cursor = journal.records[session], 0
    while journal.last_token < begin:
        if record.error is not None:
            raise ClusterError(f"The group cannot write: {record.error}")
        left = begin + seconds - time.monotonic()
        if left <= 0 or record.ended:
            raise ClusterError(f"The group has written no token within {seconds:g} s.")
        updates, _ = await journal.read(session, cursor, left)
        cursor += len(updates)
