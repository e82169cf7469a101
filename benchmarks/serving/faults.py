"""Processes of a service that die or hang while it is under load."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from benchmarks.serving.start import actors

HANGING = 0.2
"""Part of the faults of shards that stop a process instead of ending it."""


@contextmanager
def faults_every(seconds: float, roles: Sequence[str], seed: int) -> Iterator[Counter[str]]:
    """Let a process with one of the roles die, or a shard hang, at intervals during the block.

    Yields:
        What has happened so far.
    """
    rng, over, happened = random.Random(seed), threading.Event(), Counter[str]()

    def strike() -> None:
        while not over.wait(seconds):
            role = rng.choice(roles)
            pids = sorted(pid for found, pid in actors().values() if found == role)
            if not pids:
                happened[f"{role} was not there"] += 1
                continue
            hangs = role == "shard" and rng.random() < HANGING
            with suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGSTOP if hangs else signal.SIGKILL)
                happened[f"{role} {'hung' if hangs else 'killed'}"] += 1

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()
