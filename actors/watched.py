"""Background tasks whose failure does not stay unheard."""

import asyncio
from collections.abc import Callable
from typing import Any


def watch(task: asyncio.Task[Any], on_failure: Callable[[Exception], None]) -> None:
    """Call a function with the error if a task fails; a cancelled task has not failed.

    Args:
        task: a task that nobody awaits.
        on_failure: called once, in the task's event loop.
    """

    def ended(done: asyncio.Task[Any]) -> None:
        if not done.cancelled() and isinstance(error := done.exception(), Exception):
            on_failure(error)

    task.add_done_callback(ended)
