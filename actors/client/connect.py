"""Connection to a running Ray cluster, or to a temporary one on this machine."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from hogwild_dist.actors.client.probe import check_answers
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.environment import ray_socket_folders
from hogwild_dist.errors import first_line

MOST_TMPDIR_BYTES = 107 - len(
    "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
)
"""Longest folder for Ray's sockets, whose names have at most 107 bytes."""

OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Object store of a Ray started here; only commands and updates pass through it."""


@contextmanager
def connected(address: str | None, num_shards: int = 1) -> Iterator[bool]:
    """Connect to Ray for the duration of a `with` block; an existing connection is kept.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None starts Ray on this machine
            unless this process is connected already.
        num_shards: number of shards that must fit on a Ray started here; it gets at least as many
            CPUs, even if the machine has fewer cores.

    Yields:
        Whether Ray was started here.

    Raises:
        ClusterError: no Ray cluster answers at `address`, or Ray cannot be started.
    """
    if ray.is_initialized():
        yield False
        return
    with _kept_handler(signal.SIGTERM):
        if address is None:
            _start(num_shards)
        else:
            _attach(address)
    try:
        yield address is None
    finally:
        ray.shutdown()


def _start(num_shards: int) -> None:
    cores = max(num_shards, len(os.sched_getaffinity(0)))
    folder = _temporary_folder()
    with _errors_in_one_sentence(
        "Ray cannot be started on this machine",
        "Try again when the machine is less busy, or name a running cluster with --address",
    ):
        ray.init(
            address="local",
            _temp_dir=folder,
            namespace=NAMESPACE,
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


def _temporary_folder() -> str | None:
    """Return the folder of Ray's sockets; None leaves it to Ray, which takes `TMPDIR`.

    Raises:
        ClusterError: `RAY_TMPDIR` is too long for the names of sockets.
    """
    named, fallback = ray_socket_folders()
    if named is not None and len(os.fsencode(named)) > MOST_TMPDIR_BYTES:
        raise ClusterError(
            f"RAY_TMPDIR is {named!r}, which is too long for the names of Ray's sockets; choose a "
            f"folder of at most {MOST_TMPDIR_BYTES} bytes, such as /tmp."
        )
    too_long = len(os.fsencode(fallback)) > MOST_TMPDIR_BYTES
    return "/tmp/ray" if named is None and too_long else None


def _attach(address: str) -> None:
    check_answers(address)
    with _errors_in_one_sentence(
        f"Ray at {address!r} cannot be used",
        "Start Ray with `ray start --head`, or omit --address to start Ray on this machine",
    ):
        ray.init(
            address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
        )


@contextmanager
def _kept_handler(number: signal.Signals) -> Iterator[None]:
    """Keep this process's handler of a signal; `ray.init` sets one that prints a stack."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray sets none there
        return
    handler = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, handler)


@contextmanager
def _errors_in_one_sentence(what: str, way_out: str) -> Iterator[None]:
    """Turn any error of Ray into one sentence with the first line of its text."""
    try:
        yield
    except Exception as error:
        raise ClusterError(f"{what}: {first_line(error)} {way_out}.") from error
