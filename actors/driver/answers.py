"""Answers of several shards, and the error that tells most if some have failed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import ray

from hogwild_dist.actors.errors import death, is_death, plain
from hogwild_dist.errors import PeersLostError


async def gather(references: Any, nodes: Sequence[str] = ()) -> list[Any]:
    """Await references concurrently; of several errors, raise the most specific one.

    When a shard dies, its peers fail too, shortly before or after it.

    Args:
        references: a call of each shard.
        nodes: address of each shard's node, for errors; empty if they are not known yet.
    """
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(_await(reference)) for reference in references
    ]
    if not tasks:
        return []
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    if pending:
        also_done, pending = await asyncio.wait(pending, timeout=1.0)
        done |= also_done
        for task in pending:
            task.cancel()
    errors = {
        rank: error
        for rank, task in enumerate(tasks)
        if task in done and isinstance(error := task.exception(), Exception)
    }
    if errors:
        rank = max(errors, key=lambda rank: _specificity(errors[rank]))
        raise named(errors[rank], rank, nodes[rank] if nodes else None) from None
    return [task.result() for task in tasks]


def named(error: Exception, rank: int, node: str | None) -> Exception:
    """Return an error that names the shard if it died, and its node if that is known."""
    if not is_death(error):
        return plain(error)
    return death(f"Shard {rank}" if node is None else f"Shard {rank} on node {node}", error)


async def _await(reference: Any) -> Any:
    return await reference


def _specificity(error: BaseException) -> int:
    """Return how specific an error is: 2 a shard died, 1 a shard failed, 0 it lost its peers."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return 0 if isinstance(cause, PeersLostError) else 1
    return 2


def settle(done: asyncio.Future[None], error: Exception | None) -> None:
    """Say that something is done, or why it is not; what was said before stays."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
