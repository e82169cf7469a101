"""Runs a model's program against unit tests, with limits on memory, disk and time.

The limits are not a security boundary: run the programs of an untrusted model in a container
without network.
"""

import ctypes
import json
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from shutil import disk_usage
from signal import SIGKILL
from tempfile import TemporaryDirectory
from time import monotonic

import psutil

SECONDS = 10
MEMORY_BYTES = 1 << 30
"""Limit of each process."""
FILE_BYTES = 1 << 20
FREE_BYTES = 256 << 20
"""Free disk space below which a program is stopped."""
NUM_PROCESSES = 32
ISOLATED = True
"""Whether a program runs in a PID namespace of its own, if the system allows one."""

_PR_SET_CHILD_SUBREAPER = 36
_TRIAL = Path(__file__).with_name("trial.py")


def passes_tests(program: str, tests: str, preamble: Sequence[str] = ()) -> bool:
    """Return whether a Python program and then its tests run to the last line.

    A program that passes is run once more, in a trial that proves nothing by itself: a program
    that finds the proof and sends it then, did so before.

    Args:
        program: source code by the model.
        tests: source code that raises if the program is wrong, or runs test runners.
        preamble: statements to run before the program; those that fail are skipped.

    Raises:
        OSError: too little disk space is free.
    """
    trial = {"preamble": list(preamble), "program": program, "tests": tests}
    return _proves({**trial, "counts": True}) and not _proves({**trial, "counts": False})


def _proves(trial: dict[str, object]) -> bool:
    """Return whether the proof comes out of a trial."""
    proof = secrets.token_hex()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if disk_usage(folder).free < FREE_BYTES:
            raise OSError(f"less than {FREE_BYTES >> 20} MiB are free in {Path(folder).parent}")
        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as channel, open(write_end, "wb") as end:
            process = subprocess.Popen(
                [sys.executable, "-I", _TRIAL],
                cwd=folder,
                env={"TMPDIR": folder},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[write_end],
                start_new_session=True,
            )
            end.close()
            sent = _trial_json({**trial, "proof": proof, "channel": write_end})
            return _run(process, sent, channel, folder) == f"{proof}\n".encode()


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes; those that have ended are skipped."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def descendants(pid: int) -> list[psutil.Process]:
    """Return the running children of a process, and their descendants."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
        return [process for process in found if _is_running(process)]
    return []


def adopt_orphans() -> None:
    """Let this process become the parent of descendants whose parents end, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """Kill all descendants of this process, adopted ones too, until none is left."""
    while remaining := descendants(os.getpid()):
        kill_all(remaining)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _trial_json(trial: dict[str, object]) -> bytes:
    limits = {
        "RLIMIT_CPU": SECONDS,
        "RLIMIT_AS": MEMORY_BYTES,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_CORE": 0,
    }
    about = {"limits": limits, "isolated": ISOLATED, "grader": os.getpid()}
    return json.dumps({**trial, **about}).encode()


def _run(process: subprocess.Popen[bytes], trial: bytes, channel: FileIO, folder: str) -> bytes:
    """Run a trial to its end or to a limit, then kill all its processes.

    Returns:
        The bytes from its channel: the proof, written by the program's process, and a line end,
        written by the process that waited for it.
    """
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    received = b""
    seen: set[psutil.Process] = set()
    deadline = monotonic() + SECONDS
    try:
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(trial)
        while b"\n" not in received and process.poll() is None and monotonic() < deadline:
            if poller.poll(20):
                received += channel.read(100)
            found = descendants(process.pid)
            seen.update(found)
            if len(found) > NUM_PROCESSES or disk_usage(folder).free < FREE_BYTES:
                break
        return received
    finally:
        while remaining := descendants(process.pid):
            kill_all(remaining)
        kill_all(seen)  # also those whose parent has ended
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        process.wait()


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
