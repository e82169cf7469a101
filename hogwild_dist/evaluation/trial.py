"""A script that runs one program and its tests; the sandbox starts it and sends JSON on stdin.

Every function that is used after the program has started is imported by name beforehand, because
the program may change any module.
"""

import __future__

import ctypes
import doctest
import json
import resource
import runpy
import sys
import unittest
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from os import _exit, fork, getegid, geteuid, getpid, getppid, waitpid, write
from pathlib import Path
from signal import SIGKILL, pause
from types import ModuleType, TracebackType
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000

_Method = Callable[..., Any]

_PROGRAM = "program.py"
_compiled = runpy.run_path(str(Path(__file__).with_name("comparisons.py")))["compiled"]
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


def main() -> None:
    """Run the program in a process below a guard, because it may kill its parent.

    On Linux, program and guard are in a PID namespace, if the system allows one: the program sees
    no process outside, and what it leaves behind ends with the guard. Elsewhere, guard and this
    process adopt what the program leaves behind, so that the sandbox finds it among the
    descendants. All of them die with the grader.
    """
    trial: dict[str, Any] = json.load(sys.stdin)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != trial.pop("grader"):  # which has ended before
        _exit(0)
    for name, most in trial.pop("limits").items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if trial.pop("isolated") and sys.platform == "linux":
        _enter_namespace()
    guard = fork()
    if not guard:
        _guard(trial)
    waitpid(guard, 0)
    pause()


def _guard(trial: dict[str, Any]) -> None:
    """Run the program in a child process, report its end, and wait to be killed."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, SIGKILL)
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


def _enter_namespace() -> None:
    """Put children into a PID namespace; a user who may not have one gets a user namespace too."""
    user, group = geteuid(), getegid()
    unshare = ctypes.CDLL(None).unshare
    if unshare(_CLONE_NEWPID) and not unshare(_CLONE_NEWUSER | _CLONE_NEWPID):
        maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def _run(
    *, preamble: list[str], program: str, tests: str, proof: str, channel: int, counts: bool
) -> None:
    """Run preamble, program and tests, and write the proof if they end and no test has failed.

    A trial that does not count writes none whatever happens: then only the program can.
    """
    own = getpid()
    module = ModuleType("program")
    sys.modules["program"] = sys.modules["__main__"] = module
    names = module.__dict__
    runners = _Runners()
    try:
        flags = _run_each(preamble, names)
        exec(compile(program, _PROGRAM, "exec", flags), names)  # as an imported module
        module.__name__ = "__main__"
        runners.watch(names)
        _run_to_end(tests, names)
        if (
            counts and getpid() == own and runners.right()
        ):  # not in a fork that the program has made
            write(channel, proof.encode())
    finally:
        _exit(0)


def _run_each(preamble: list[str], names: dict[str, Any]) -> int:
    """Run statements, each by itself; return the compiler flags of their __future__ imports."""
    flags = 0
    for statement in preamble:
        with suppress(Exception):
            code = compile(statement, "prompt.py", "exec", flags)
            flags |= code.co_flags & _FUTURES
            exec(code, names)
    return flags


def _run_to_end(tests: str, names: dict[str, Any]) -> None:
    """Run tests to their last line, or to where they themselves exit with status 0."""
    try:
        exec(_compiled(tests, names), names)
    except SystemExit as end:
        if end.code not in (None, 0) or _is_program(end.__traceback__):
            raise


def _is_program(frame: TracebackType | None) -> bool:
    """Return whether the program takes part in a traceback."""
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == _PROGRAM:
            return True
        frame = frame.tb_next
    return False


class _Runners:
    """The results of the test runners that the tests start: of unittest and of doctest."""

    def __init__(self) -> None:
        self._results: dict[int, Any] = {}
        self._examples: list[Any] = []

    def watch(self, names: dict[str, Any]) -> None:
        """Keep all results from now on, and no longer let `unittest.main` exit.

        Args:
            names: names of the program, of which its own test cases are removed.
        """
        own = [
            name
            for name, value in names.items()
            if isinstance(value, type) and issubclass(value, unittest.TestCase)
            if value.__module__ == "program"
        ]
        for name in own:
            del names[name]
        for kind in (unittest.TestCase, unittest.TestSuite):
            _replace(kind, "run", self._watched)
        _replace(unittest.TestProgram, "runTests", _without_exit)
        _replace(doctest.DocTestRunner, "run", self._counted)

    def right(self) -> bool:
        """Return whether nothing has failed, and something was tested if a runner was started."""
        results = self._results.values()
        tested = sum(one.testsRun - len(one.skipped) for one in results)
        tested += sum(one.attempted for one in self._examples)
        failed = any(one.failed for one in self._examples)
        failed = failed or not all(one.wasSuccessful() for one in results)
        return not failed and (tested > 0 or not (self._results or self._examples))

    def _watched(self, run: _Method) -> _Method:
        def run_and_keep(case: Any, result: Any = None, *args: Any, **kwargs: Any) -> Any:
            returned = run(case, result, *args, **kwargs)
            kept = returned if result is None else result
            if hasattr(kept, "wasSuccessful"):  # not in debug(), which raises what fails
                self._results[id(kept)] = kept
            return returned

        return run_and_keep

    def _counted(self, run: _Method) -> _Method:
        def run_and_count(*args: Any, **kwargs: Any) -> Any:
            self._examples.append(run(*args, **kwargs))
            return self._examples[-1]

        return run_and_count


def _without_exit(run_tests: _Method) -> _Method:
    def run_without_exit(program: Any) -> None:
        program.exit = False
        run_tests(program)

    return run_without_exit


def _replace(kind: type, name: str, wrapper: Callable[[_Method], _Method]) -> None:
    """Replace a method of a class by a wrapper around it."""
    setattr(kind, name, wraps(getattr(kind, name))(wrapper(getattr(kind, name))))


if __name__ == "__main__":
    main()
