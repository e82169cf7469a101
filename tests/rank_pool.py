"""Ranks for tests: spawned processes that meet over gloo, reused from case to case."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from hogwild_dist.exchange.process_group import Membership, serve_store

HOST = "127.0.0.1"
Job = Callable[..., Any]


class RankError(Exception):
    """A rank raised; the text is its traceback."""


class RankPool:
    """Processes that run a function each, as ranks of a group of the size that is asked for."""

    def __init__(self) -> None:
        self._store = serve_store(HOST)
        self._epoch = 0
        self.ranks: list[tuple[multiprocessing.Process, Connection]] = []

    def run(self, job: Job, world_size: int, *args: Any, timeout: float = 30.0) -> list[Any]:
        """Run ``job(place, *args)`` on every rank; results in rank order.

        Raises:
            RankError: one raised; the others are awaited all the same.
        """
        results = self.outcomes(job, world_size, *args, timeout=timeout)
        failed = [result for result in results if isinstance(result, RankError)]
        if failed:
            raise RankError("\n".join(map(str, failed)))
        return results

    def outcomes(self, job: Job, world_size: int, *args: Any, timeout: float = 30.0) -> list[Any]:
        """The same, with a `RankError` in the place of each rank that raised or died."""
        while len(self.ranks) < world_size:
            self._spawn()
        self._epoch += 1
        for rank, (_, pipe) in enumerate(self.ranks[:world_size]):
            place = Membership(
                epoch=self._epoch,
                rank=rank,
                world_size=world_size,
                store_host=HOST,
                store_port=self._store.port,
                timeout_seconds=timeout,
            )
            pipe.send((job, place, args))
        return [self._result(rank) for rank in range(world_size)]

    def close(self) -> None:
        for process, pipe in self.ranks:
            pipe.close()
            process.kill()
            process.join()

    def _result(self, rank: int) -> Any:
        try:
            return self.ranks[rank][1].recv()
        except EOFError:
            return RankError(f"rank {rank} died")

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self.ranks.append((process, ours))


def _serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    while True:
        try:
            job, place, args = pipe.recv()
        except EOFError:
            return
        try:
            result = job(place, *args)
        except BaseException:
            result = RankError(f"rank {place.rank}:\n{traceback.format_exc()}")
        pipe.send(result)
