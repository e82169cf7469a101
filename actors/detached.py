"""Calls that are no part of the call in which they are made.

Ray cancels with a call, as of a client that vanishes, what it has called in turn and has not begun.
It knows what belongs to a call by the context (`contextvars`) in which that runs.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any


class DetachedContext:
    """The context of whoever makes it, for what has to be done whatever becomes of a call."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def run(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function that makes calls."""
        self._context.copy().run(function, *arguments)

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that makes calls."""
        return asyncio.create_task(work, context=self._context.copy())
