"""A script that runs one program and its tests; the sandbox starts it and sends JSON on stdin.

Every function that is used after the program has started is imported by name beforehand, because
the program may change any module.
"""

import ctypes
import json
import resource
import sys
from os import _exit, fork, getpid, waitpid, write
from signal import SIGKILL, pause
from types import ModuleType
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the program in a child process, because it may kill its parent.

    On Linux, this process adopts what the child leaves behind, so that the sandbox finds it among
    the descendants; this process and the child die with the grader.
    """
    trial: dict[str, Any] = json.load(sys.stdin)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, SIGKILL)
    for name, most in trial.pop("limits").items():
        resource.setrlimit(getattr(resource, name), (most, most))
    child = fork()
    if not child:
        _control(_PR_SET_PDEATHSIG, SIGKILL)
        _run(**trial)
    waitpid(child, 0)
    write(trial["channel"], b"\n")
    pause()


def _control(what: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(what, value)


def _run(program: str, tests: str, proof: str, channel: int) -> None:
    """Run program and tests, and write the proof if the last line of the tests is reached."""
    own = getpid()
    module = ModuleType("program")
    sys.modules["program"] = sys.modules["__main__"] = module
    try:
        exec(compile(program, "program.py", "exec"), module.__dict__)  # as an imported module
        module.__name__ = "__main__"
        exec(compile(tests, "tests.py", "exec"), module.__dict__)
        if getpid() == own:  # not in a fork that the program has made
            write(channel, proof.encode())
    finally:
        _exit(0)


if __name__ == "__main__":
    main()
