"""Reaching Ray: a cluster that is there, or one of this machine's own for as long as it is used."""

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
"""Of a Ray that is started here: only commands and updates pass through it."""


@contextmanager
def connected(address: str | None, num_shards: int = 1) -> Iterator[bool]:
    """Connect to Ray, and leave what was found as it was found.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None starts Ray on this machine
            where this process has none.
        num_shards: for which a Ray that is started here gets CPUs, also where cores are fewer.

    Yields:
        Whether Ray was started here.

    Raises:
        ClusterError: no Ray answers at `address`.
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
        "Try again when less runs here, or use a cluster that runs with --address",
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
        "Start it with `ray start --head`, or leave --address out to start one on this machine",
    ):
        ray.init(
            address=address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
        )


@contextmanager
def _errors_in_one_sentence(what: str, way_out: str) -> Iterator[None]:
    """Ray raises whatever went wrong; of that the first line is told."""
    try:
        yield
    except Exception as error:
        raise ClusterError(f"{what}: {first_line(error)} {way_out}.") from error


def _check_answers(address: str) -> None:
    """Ask for a plain connection first: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ClusterError(
            f"No Ray answers at {address!r} ({error}); start it with `ray start --head`, or leave "
            "--address out to start one on this machine."
        ) from error
