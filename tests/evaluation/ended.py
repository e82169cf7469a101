"""Waiting for processes that are not our children."""

from time import monotonic, sleep

import psutil


def ended(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends in time; one that nobody has waited for has ended."""
    end = monotonic() + seconds
    while monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        sleep(0.01)
    return False
