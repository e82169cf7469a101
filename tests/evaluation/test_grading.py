"""Graders: right, wrong, crashing and looping answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation import grading
from hogwild_dist.evaluation.dataset import Item, read_items
from hogwild_dist.evaluation.grading import GraderError, GraderKind, GraderPool
from hogwild_dist.evaluation.sandbox import passes_tests
from hogwild_dist.evaluation.stats import redundancy, wilson


@pytest.mark.parametrize(
    ("kind", "answer", "known", "right"),
    [
        ("number", "18", "so 16 - 3 - 4 = 9\n#### 18", True),
        ("number", "it is $1,200.50", "1200.5", True),
        ("number", "19", "#### 18", False),
        ("number", "none", "#### 18", False),
        ("number", "-3", "#### 3", False),
        ("choice", "(B)", "B", True),
        ("choice", "The answer is C.", "B", False),
        ("choice", "Because", "B", False),
        ("math", r"\frac{1}{2}", "0.5", True),
        ("math", r"\left(3, \frac{\pi}{2}\right)", r"\left( 3, \frac{\pi}{2} \right)", True),
        ("math", "x+1", "1+x", True),
        ("math", "7", "8", False),
        ("code", "def f(x):\n    return x + 1", "assert f(1) == 2", True),
        ("code", "def f(x):\n    return x", "assert f(1) == 2", False),
    ],
)
def test_answers_are_graded(
    pools: dict[str, GraderPool], kind: str, answer: str, known: str, right: bool
) -> None:
    assert pools[kind].grade(answer, known) is right
    assert pools[kind].grade(None, known) is False


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, GraderPool]]:
    found = {kind.value: GraderPool(kind, seconds=60) for kind in GraderKind}
    yield found
    for pool in found.values():
        pool.close()


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "x = 'a' * (1 << 34)",
        "open('f', 'w').write('x' * (1 << 22))",
        "import os; os._exit(3)",
    ],
)
def test_programs_are_limited(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hogwild_dist.evaluation.sandbox.SECONDS", 2)
    assert not passes_tests(program, "")


def test_a_grader_that_loops_or_dies_is_replaced() -> None:
    with GraderPool(GraderKind.CODE, seconds=0.0) as hasty:
        with pytest.raises(GraderError, match="took more than 0 seconds"):
            hasty.grade("pass", "")
        with pytest.raises(GraderError, match="took more than 0 seconds"):
            hasty.grade("pass", "")
    with GraderPool(GraderKind.CODE, seconds=60.0) as pool:
        assert pool.grade("pass", "")
        process, _ = pool._worker
        process.kill()
        process.join()
        with pytest.raises(GraderError, match="died with exit code -9"):
            pool.grade("pass", "")
        assert pool.grade("pass", "")


def test_a_grader_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs math-verify; install it with"):
        GraderPool(GraderKind.MATH)


def test_a_grader_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with GraderPool(GraderKind.NUMBER) as pool, pytest.raises(GraderError, match="failed: "):
        pool.grade("1", 5)


def test_every_kind_has_a_grader() -> None:
    assert set(grading.GRADERS) == set(GraderKind)


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


def test_the_interval_of_a_share() -> None:
    low, high = wilson(50, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)


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


def test_what_two_write_at_once_is_redundant_for_neither() -> None:
    both = [(who, f"word{step} ", step) for step in range(9) for who in ("A", "B")]
    assert redundancy(both) == {"A": 0, "B": 0}
    third = [("C", f"word{step} ", 9 + step) for step in range(9)]
    assert redundancy([*both, *third]) == {"A": 0, "B": 0, "C": 1}
    again = [("A", f"word{step} ", 20 + step) for step in range(9)]
    assert redundancy([*both, *again])["A"] == 6 / 15  # those of one time alone
