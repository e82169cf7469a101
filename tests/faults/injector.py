"""Faults of a shard: what they do to it, and when they happen."""

import itertools
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

PAUSE_SECONDS = 0.3
"""Time for which a shard hangs that goes on by itself, and by which a slow call is late in all."""

SLOW_CALLS = 20
"""Calls of the exchange that are late one after the other, as on a slow link."""

SPOILT = ("damaged", "wrong step", "cut short")
"""Kinds of faults that spoil the header that is sent next."""

KINDS = ("SIGKILL", "SIGSTOP", "pause", "error", "disconnect", "slow", *SPOILT)
"""Kinds of faults of a shard."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one shard at a call of one of its methods.

    Attributes:
        shard: index of the shard.
        point: method of the exchange.
        call: number of the call of this method, from 1 on.
        after: whether the fault follows the call, which then is complete.
        kind: what happens, one of `KINDS`.
    """

    shard: int
    point: str
    call: int
    after: bool = False
    kind: str = "SIGKILL"


def strike(kind: str, exchange: Any) -> None:
    """Do what a kind of fault does, in the process that it is to happen to."""
    match kind:
        case "error":
            raise RuntimeError("a fault of the test")
        case "pause":
            subprocess.Popen(["sh", "-c", f"sleep {PAUSE_SECONDS}; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
        case "disconnect":
            disconnect()
        case "slow":
            delay(exchange)
        case _ if kind in SPOILT:
            spoil_header(exchange, kind)
        case _:
            os.kill(os.getpid(), signal.Signals[kind])


def spoil_header(exchange: Any, how: str) -> None:
    """Send one header that peers cannot use."""
    write = exchange._write_header

    def once(stage: Any, report: Any) -> None:
        exchange._write_header = write
        write(stage, replace(report, step=report.step + (how == "wrong step")))
        if how == "damaged":
            stage.message[20] ^= 1
        if how == "cut short":
            stage.message[8:] = 0

    exchange._write_header = once


def delay(exchange: Any) -> None:
    """Be late with some calls of the exchange."""
    post, calls = exchange.post, itertools.count(1)

    def late(report: Any) -> None:
        if next(calls) == SLOW_CALLS:
            exchange.post = post
        time.sleep(PAUSE_SECONDS / SLOW_CALLS)
        post(report)

    exchange.post = late


def disconnect() -> None:
    """Close every connection over TCP, which are those to the peers and to their store."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                close_connection(int(name))


def close_connection(descriptor: int) -> None:
    found = socket.socket(fileno=os.dup(descriptor))
    with found:
        if found.family in {socket.AF_INET, socket.AF_INET6} and found.getpeername():
            found.shutdown(socket.SHUT_RDWR)


def around(owner: Any, method: str, happen: Callable[[bool], None]) -> None:
    """Let something happen before (False) and after (True) every call of a method."""
    original = getattr(owner, method)

    def call(*arguments: Any) -> Any:
        happen(False)
        result = original(*arguments)
        happen(True)
        return result

    setattr(owner, method, call)


def inject(runner: Any, faults: Sequence[Fault]) -> None:
    """Make faults happen when methods of a shard's exchange are called."""
    for point in {fault.point for fault in faults}:
        counts = itertools.count(2)  # halves of calls

        def happen(after: bool, *, point=point, counts=counts) -> None:
            number = next(counts) // 2
            for fault in faults:
                if (fault.point, fault.call, fault.after) == (point, number, after):
                    strike(fault.kind, runner.exchange)

        around(runner.exchange, point, happen)
