"""Graders: right, wrong, crashing and looping answers."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation import grading
from hogwild_dist.evaluation.dataset import Item, read_items
from hogwild_dist.evaluation.grading import GraderError, GraderKind, GraderPool
from hogwild_dist.evaluation.stats import redundancy, wilson
from tests.evaluation.ended import ended

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "answer", "known"),
    [
        ("number", "18", "#### 18"),
        ("choice", "(B)", "B"),
        ("math", r"\frac{1}{2}", "0.5"),
        ("code", "def f(x):\n    return x + 1", "assert f(1) == 2"),
    ],
)
def test_answers_are_graded_in_a_light_process(kind: str, answer: str, known: str) -> None:
    with GraderPool(GraderKind(kind), seconds=60) as pool:
        assert pool.grade(answer, known) is True
        assert pool.grade("9", known) is False
        assert pool.grade(None, known) is False
        libraries = {
            Path(one.path).name for one in psutil.Process(pool._worker[0].pid).memory_maps()
        }
        assert not [name for name in libraries if "torch" in name]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_grader_has_a_limit_on_memory_and_reads_long_numbers() -> None:
    with GraderPool(GraderKind.MATH, seconds=60) as pool:
        digits = "7" * 6000
        assert pool.grade(f"{digits}7", f"10*{digits}+7")
        assert not pool.grade(f"{digits}7", f"10*{digits}+8")
        limits = psutil.Process(pool._worker[0].pid).rlimit(psutil.RLIMIT_AS)
    assert limits == (2 << 30, 2 << 30)


def test_starting_is_not_part_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(3)\n")  # a slow start
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with GraderPool(GraderKind.NUMBER, seconds=2) as pool:
        assert pool.grade("1", "1")
    monkeypatch.setattr(grading, "START_SECONDS", 0.1)
    with (
        GraderPool(GraderKind.NUMBER) as pool,
        pytest.raises(GraderError, match=r"took more than 0.1 seconds to start"),
    ):
        pool.grade("1", "1")


def test_a_grader_that_cannot_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with GraderPool(GraderKind.MATH) as pool:
        for _ in range(2):
            with pytest.raises(GraderError, match="the math grader died with exit code 1"):
                pool.grade("1", "1")


def test_a_program_ends_with_its_grader(tmp_path: Path) -> None:
    note = tmp_path / "note"
    program = f"""
import os
open({str(note)!r}, "w").write(os.readlink("/proc/self"))
while True: pass
"""
    with GraderPool(GraderKind.CODE, seconds=3) as pool:
        with pytest.raises(GraderError, match="took more than 3 seconds for an answer"):
            pool.grade(program, "assert True")
        assert pool.grade("x = 1", "assert x == 1")
    assert ended(int(note.read_text()))


def grader_script(folder: Path, line: str) -> Path:
    """Write the script of a grader process that runs a line of its own before it grades."""
    script = folder / "grader.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from hogwild_dist.evaluation import grader_process, sandbox
{line}
grader_process.main(*sys.argv[1:])
""")
    return script


def test_a_program_that_kills_its_grader_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can where there are no namespaces."""
    monkeypatch.setattr(grading, "_PROCESS", grader_script(tmp_path, "sandbox.ISOLATED = False"))
    note = tmp_path / "note"
    program = f"""
import os, time
def parent(pid):
    return int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
guard = os.getppid()
sandbox = parent(guard)
open({str(note)!r}, "w").write(f"{{sandbox}} {{guard}} {{os.getpid()}}")
os.kill(parent(sandbox), 9)
time.sleep(600)
"""
    with GraderPool(GraderKind.CODE) as pool:
        with pytest.raises(GraderError, match="died with exit code -9"):
            pool.grade(program, "assert True")
        assert pool.grade("x = 1", "assert x == 1")
    assert all(ended(int(pid)) for pid in note.read_text().split())


def test_a_process_that_was_left_within_a_moment_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away before anybody has seen it, and those that would adopt it are killed."""
    monkeypatch.setattr(grading, "_PROCESS", grader_script(tmp_path, "sandbox.ISOLATED = False"))
    note = tmp_path / "note"
    program = f"""
import os, time
guard = os.getppid()
sandbox = int(open(f"/proc/{{guard}}/stat").read().rpartition(")")[2].split()[1])
if not os.fork():
    os.setsid()
    os.kill(sandbox, 9)
    os.kill(guard, 9)
    if os.fork():
        os._exit(0)
    open({str(note)!r}, "w").write(str(os.getpid()))
    time.sleep(600)
time.sleep(600)
"""
    with GraderPool(GraderKind.CODE) as pool:
        assert not pool.grade(program, "assert True")
        assert pool.grade("x = 1", "assert x == 1")
        assert not note.exists() or ended(int(note.read_text()))


def test_a_grader_that_closes_its_pipe_and_stays_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = grader_script(tmp_path, "os.close(int(sys.argv[2])); time.sleep(600)")
    monkeypatch.setattr(grading, "_PROCESS", script)
    monkeypatch.setattr(grading, "EXIT_SECONDS", 0.1)
    with GraderPool(GraderKind.NUMBER) as pool:
        with pytest.raises(GraderError, match="number grader closed its pipe and did not exit"):
            pool.grade("1", "1")
        monkeypatch.undo()
        assert pool.grade("1", "1")


def test_a_grader_that_loops_or_dies_is_replaced() -> None:
    with GraderPool(GraderKind.CODE, seconds=0.0) as hasty:
        with pytest.raises(GraderError, match="took more than 0 seconds"):
            hasty.grade("pass", "assert True")
        with pytest.raises(GraderError, match="took more than 0 seconds"):
            hasty.grade("pass", "assert True")
    with GraderPool(GraderKind.CODE, seconds=60.0) as pool:
        assert pool.grade("pass", "assert True")
        process, _ = pool._worker
        process.kill()
        process.wait()
        with pytest.raises(GraderError, match="died with exit code -9"):
            pool.grade("pass", "assert True")
        assert pool.grade("pass", "assert True")


def test_a_grader_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs math-verify; run `pip install -e '\.\[eval\]'`"):
        GraderPool(GraderKind.MATH)


def test_a_grader_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with GraderPool(GraderKind.NUMBER) as pool, pytest.raises(GraderError, match="failed: "):
        pool.grade("1", 5)


def test_items_come_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"problem": "a?", "answer": 3}\n\n{"q": "b"}\n[1]\n{\n{"question": "c?", "answer": "4"}\n'
    )
    items, faults = read_items(path)
    assert items == [Item(1, "a?", "3"), Item(6, "c?", "4")]
    assert [fault.split(" ")[1] for fault in faults] == ["3", "4", "5"]
    assert "'question' or 'problem'" in faults[0]
    assert read_items(path, limit=1)[0] == items[:1]
    with pytest.raises(ConfigError, match="holds no question: Line 1 has no question under 'x'"):
        read_items(path, question="x")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_items(tmp_path / "none")


def test_tests_that_are_not_called_are_called(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    check = "META = {}\n\n\ndef check(candidate):\n    assert candidate(1) == 2\n"
    lines = [
        {"prompt": "f?", "test": check, "entry_point": "f"},
        {"prompt": "f?", "test": check},
        {"prompt": "f?", "test": check + "check(f)", "entry_point": "f"},
        {"prompt": "f?", "test": "def check():\n    assert f(1) == 2"},
        {"prompt": "f?", "tests": ["assert f(1) == 2", "assert f(2) == 3"], "entry_point": "f"},
        {"prompt": "f?", "test": check, "entry_point": "f()"},
        {"prompt": "f?", "answer": "def check( is no Python"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    items, faults = read_items(path)
    assert [item.answer.splitlines()[-1] for item in items] == [
        "check(f)", "check(f)", "check()", "assert f(2) == 3", "def check( is no Python",
    ]  # fmt: skip
    assert items[1].answer == lines[2]["test"]
    assert [fault[:25] for fault in faults] == [f"Line {n} cannot be tested: " for n in (2, 6)]
    assert "under 'entry_point'" in faults[0]
    with GraderPool(GraderKind.CODE) as pool:
        for item in items[:4]:
            assert pool.grade("def f(x):\n    return x + 1", item.answer)
            assert not pool.grade("def f(x):\n    return x", item.answer)
            assert not pool.grade("def g(x):\n    return x + 1", item.answer)


def test_the_interval_of_a_share() -> None:
    low, high = wilson(0.5, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0
    assert wilson(1, 10)[1] == pytest.approx(1)


def test_redundancy_counts_what_others_wrote_before() -> None:
    line = "one two three four"
    assert redundancy([("A", f"{line} five", 0)]) == {"A": 0}
    assert redundancy([("A", f"{line} ", 0), ("B", f"{line} ", 1)]) == {"A": 0, "B": 1}
    assert redundancy([("A", f"{line} ", 0), ("A", f"{line} ", 1)]) == {"A": 0}
    assert redundancy([]) == {}
    letters = [("A", sign, step) for step, sign in enumerate(f"{line} ")]
    late = [("B", "one two th", 30), ("B", "ree four ", 31)]
    assert redundancy([*letters, *late]) == {"A": 0, "B": 1}
    assert redundancy([("B", f"{line} ", 0), *letters]) == {"A": 1, "B": 0}
    pieces = [("A", "one two three ", 0), ("B", f"{line} five six", 1), ("A", "four five ", 2)]
    assert redundancy(pieces) == {"A": 1, "B": 0}


def test_the_last_word_counts_when_it_was_written_and_not_at_the_end() -> None:
    line = "one two three four"
    assert redundancy([("A", line, 1), ("B", f"{line} ", 5), ("C", "x", 6)]) == {
        "A": 0,
        "B": 1,
        "C": 0,
    }
    assert redundancy([("A", f"{line} ", 1), ("B", line, 5), ("C", "x", 6)])["B"] == 1


def test_what_two_write_at_once_is_redundant_for_neither() -> None:
    both = [(who, f"word{step} ", step) for step in range(9) for who in ("A", "B")]
    assert redundancy(both) == {"A": 0, "B": 0}
    third = [("C", f"word{step} ", 9 + step) for step in range(9)]
    assert redundancy([*both, *third]) == {"A": 0, "B": 0, "C": 1}
    again = [("A", f"word{step} ", 20 + step) for step in range(9)]
    assert redundancy([*both, *again])["A"] == 6 / 15  # those of one time alone
