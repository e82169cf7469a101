"""Calls that outlive the call that makes them.

When Ray cancels an actor call, for example because its client vanished, it also cancels the calls
made from it that have not started. Ray finds them by the `contextvars` context of the call.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DetachedContext:
    """The context in which it was created, for work that must survive a cancelled call."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def run(self, function: Callable[..., object], *arguments: object) -> None:
        """Run a function; cancelling the caller does not cancel the actor calls it makes."""
        self._context.copy().run(function, *arguments)

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task; cancelling the caller does not cancel the actor calls it makes."""
        return asyncio.create_task(work, context=self._context.copy())
