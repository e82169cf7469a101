"""Running a model's program against unit tests, with limits.

The limits keep a program from filling memory, disk or time. They are no prison: run programs of a
model that you do not trust in a container without network.
"""

import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from os import killpg
from pathlib import Path
from signal import SIGKILL

SECONDS = 10
MEMORY_BYTES = 1 << 30
FILE_BYTES = 1 << 20


def passes_tests(program: str, tests: str) -> bool:
    """Whether a Python program and the tests after it run to their end.

    Args:
        program: what the model wrote.
        tests: code that raises where the program is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "program.py").write_text(f"{program}\n\n{tests}\n", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-I", "program.py"],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_limit,  # noqa: PLW1509 - the grader's process has one thread
        )
        try:
            return process.wait(SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                killpg(process.pid, SIGKILL)
            process.wait()


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
