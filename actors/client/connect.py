"""Connection to a running Ray cluster, or to a temporary one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.errors import first_line

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
    with _errors_in_one_sentence(
        "Ray cannot be started on this machine",
        "Try again when the machine is less busy, or name a running cluster with --address",
    ):
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


def _attach(address: str) -> None:
    _check_answers(address)
    with _errors_in_one_sentence(
        f"Ray at {address!r} cannot be used",
        "Start Ray with `ray start --head`, or omit --address to start Ray on this machine",
    ):
        ray.init(
            address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
        )


@contextmanager
def _errors_in_one_sentence(what: str, way_out: str) -> Iterator[None]:
    """Turn any error of Ray into one sentence with the first line of its text."""
    try:
        yield
    except Exception as error:
        raise ClusterError(f"{what}: {first_line(error)} {way_out}.") from error


def _check_answers(address: str) -> None:
    """Try a plain TCP connection first, since Ray itself retries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ClusterError(
            f"No Ray cluster answers at {address!r} ({error}); start Ray with `ray start --head`, "
            "or omit --address to start Ray on this machine."
        ) from error
