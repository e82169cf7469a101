"""How the long operations of this package report what they do."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running operation."""

    stage: str
    """What is being done, such as `downloading`."""
    done: int = 0
    """Bytes done so far."""
    total: int = 0
    """Bytes to do; 0 where that is not known."""


ProgressHook = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Report nothing."""
