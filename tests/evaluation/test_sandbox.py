"""Programs of models: who passes, who does not, and what is left of them."""

import os
from collections import namedtuple
from pathlib import Path

import pytest

from hogwild_dist.evaluation import sandbox
from hogwild_dist.evaluation.sandbox import passes_tests
from tests.evaluation.ended import ended

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("program", "tests", "passes"),
    [
        ("def f(x):\n    return x + 1", "assert f(1) == 2\nassert f(2) == 3", True),
        ("def f(x):\n    return x + 1", "assert f(1) == 2\nassert f(2) == 4", False),
        ("def f(x):\n    return x + 1", "if __name__ == '__main__':\n    assert f(1) == 3", False),
        ("def f(:", "assert True", False),
        ("x = 1\nif __name__ == '__main__':\n    input()", "assert x == 1", True),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'", "A(1)", True),
        ("x = '\u2212'", "assert ord(x) == 0x2212", True),
        ("for _ in range(100): print('x' * 10**6)", "assert True", True),
    ],
)
def test_a_program_passes_its_tests(program: str, tests: str, passes: bool) -> None:
    assert passes_tests(program, tests) is passes


@pytest.mark.parametrize(
    "end", ["exit()", "quit()", "raise SystemExit", "sys.exit(0)", "os._exit(0)", "os.abort()"]
)
def test_a_program_that_ends_early_does_not_pass(end: str) -> None:
    assert not passes_tests(f"import os, sys\n{end}", "assert False")
    assert not passes_tests(f"import os, sys\ndef f():\n    {end}", "f()\nassert False")


def test_what_a_program_writes_proves_nothing() -> None:
    program = """
import os
for number in range(256):
    try:
        os.write(number, b"0" * 64)
    except OSError:
        pass
os._exit(0)
"""
    assert not passes_tests(program, "assert False")


THIEF = """
import os, sys
def f(x=None):
    frame = sys._getframe()
    while frame:
        if "proof" in frame.f_locals:
            os.write(frame.f_locals["channel"], frame.f_locals["proof"].encode())
            os._exit(0)
        frame = frame.f_back
"""


@pytest.mark.parametrize("program", [THIEF, f"{THIEF}\nf()"])
def test_a_program_that_reads_the_proof_does_not_pass(program: str) -> None:
    assert not passes_tests(program, "assert f(1) == 2")


LIAR = "class Liar:\n    def __eq__(self, other): return {}\n"
UNITTEST = """
import unittest
class Case(unittest.TestCase):
    def test(self): self.assertEqual(f(1), 2)
unittest.main()
"""


@pytest.mark.parametrize(
    "program",
    [
        LIAR.format("True") + "def f(x): return Liar()",
        LIAR.format("True") + "def f(x): return [{1: (Liar(),)}]",
        LIAR.format("isinstance(other, int)") + "def f(x): return Liar()",
        LIAR.format("isinstance(other, bool)") + "def f(x): return Liar()",
        LIAR.format("isinstance(other, (str, list))") + "def f(x): return Liar()",
        "from unittest.mock import ANY\ndef f(x): return ANY",
    ],
)
@pytest.mark.parametrize(
    "tests",
    ["assert f(1) == 2", "assert True == f(1)", "assert f(1) in ('a', 2)", UNITTEST],
)
def test_a_value_that_equals_everything_does_not_pass(program: str, tests: str) -> None:
    assert not passes_tests(program, tests)


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x", "from unittest.mock import ANY\nassert f([1, 2]) == [1, ANY]"),
        (
            "class P:\n    def __init__(self, x): self.x = x\n"
            "    def __eq__(self, other): return self.x == (getattr(other, 'x', other))",
            "assert P(1) == P(1)\nassert P(2) == 2\nassert P(1) != 2\nassert P(1) in [P(1)]",
        ),
        ("x = [1]\nx.append(x)", "assert len(x) == 2\nassert x == x"),
    ],
)
def test_honest_comparisons_pass(program: str, tests: str) -> None:
    assert passes_tests(program, tests)


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "while True: print('x' * 10**6)",
        "x = 'a' * (1 << 34)",
        "open('f', 'w').write('x' * (1 << 22))",
        "import os, signal; os.killpg(0, signal.SIGKILL)",
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL); signal.pause()",
    ],
)
def test_programs_are_limited(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 2)
    assert not passes_tests(program, "assert True")


def test_a_program_with_many_processes_does_not_pass() -> None:
    program = "import os, time\nfor _ in range({}): os.fork()\ntime.sleep(0.5)"
    assert passes_tests(program.format(2), "assert True")
    assert not passes_tests(program.format(7), "assert True")


def test_the_disk_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")

    def small_disk(folder: str) -> usage:
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
        return usage(sandbox.FREE_BYTES + (8 << 20) - written)

    monkeypatch.setattr(sandbox, "disk_usage", small_disk)
    program = "import time\nfor i in range({}): open(str(i), 'w').write('x' * (1 << 20))\n"
    program += "time.sleep(0.5)"
    assert passes_tests(program.format(4), "assert True")
    assert not passes_tests(program.format(16), "assert True")


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "FREE_BYTES", 1 << 62)
    with pytest.raises(OSError, match="MiB are free in"):
        passes_tests("pass", "assert True")


def test_files_of_a_program_are_gone(tmp_path: Path) -> None:
    note = tmp_path / "note"
    program = f"""
import os, tempfile
number, path = tempfile.mkstemp()
open({str(note)!r}, "w").write(path)
os.mkdir("closed")
os.chmod("closed", 0)
"""
    assert passes_tests(program, "assert os.path.exists(path)")
    assert note.read_text()
    assert not Path(note.read_text()).exists()


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("end", ["pass", "os.kill(parent, 9)", "time.sleep(60)"])
def test_no_process_of_a_program_is_left(
    tmp_path: Path, end: str, isolated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 3)
    monkeypatch.setattr(sandbox, "ISOLATED", isolated)
    note = tmp_path / "note"
    program = f"""
import os, time
parent = os.getppid()
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    open({str(note)!r}, "w").write(os.readlink("/proc/self"))
    time.sleep(600)
while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read():
    time.sleep(0.001)
{end}
"""
    passes_tests(program, "assert True")
    assert ended(int(note.read_text()))


def test_a_program_sees_no_process_outside() -> None:
    if os.geteuid():
        pytest.skip("a system may refuse namespaces to its users")
    program = """
import os
outside = 0
for name in os.listdir("/proc"):
    try:
        os.kill(int(name), 0)
        outside += int(name) > 2
    except (OSError, ValueError):
        pass
"""
    assert passes_tests(program, "assert (outside, os.getpid(), os.getppid()) == (0, 2, 1)")
