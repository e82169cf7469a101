"""Progress reports of long operations: downloads, conversions, checks."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running operation."""

    stage: str
    """Name of the current stage, such as `downloading`."""
    done: int = 0
    """Bytes processed so far."""
    total: int = 0
    """Bytes in total; 0 if unknown."""


ProgressHook = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Ignore a report."""
