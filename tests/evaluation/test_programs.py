"""Programs in answers, and what the prompt of a line gives them."""

import json
from pathlib import Path

import pytest

from hogwild_dist.evaluation.dataset import read_items
from hogwild_dist.evaluation.grading import GraderKind, GraderPool
from hogwild_dist.evaluation.programs import preamble, program_text

AREA = "def area(r):\n    return r"
TYPED = "from typing import Optional\n\n\ndef half(n: int) -> Optional[int]:\n"


@pytest.mark.parametrize(
    ("prompt", "entry_point", "statements"),
    [
        (f'{TYPED}    """Halve."""\n', "half", ["from typing import Optional"]),
        (TYPED, "half", ["from typing import Optional"]),
        (f"{TYPED}    # your code\n", None, ["from typing import Optional"]),
        (f"Complete:\n```python\n{TYPED}    ...\n```\n", "half", ["from typing import Optional"]),
        (f"1. Complete:\n\n   ~~~\n   {TYPED.replace(chr(10), chr(10) + '   ')}\n   ~~~\n", "half",
         ["from typing import Optional"]),
        ("from typing import (\n    Any,\n    Optional,\n)\nWrite `half`.\n", None,
         ["from typing import (\n    Any,\n    Optional,\n)"]),
        ("Write it.\nimport math, re\nimport duties rose.\n", None, ["import math, re"]),
        ("import math\nN = 3\ndef area(r):\n    return math.pi * r\ndef half(n):\n    pass", "half",
         ["import math", "N = 3", "def area(r):\n    return math.pi * r"]),
        (f"def half(n):\n    pass\n{AREA}", "half", [AREA]),
        (f"{AREA}\ndef half(n):\n    pass", None, [AREA]),
        ("try:\n    import numpy\nexcept ImportError:\n    numpy = None\ndef half(n): pass", "half",
         ["try:\n    import numpy\nexcept ImportError:\n    numpy = None"]),
        (r"Natalia imports \(x\) clips from 3 shops.", None, []),
        ("assert half(4) == 2\nprint(half(4))", None, []),
    ],
)  # fmt: skip
def test_a_prompt_gives_its_imports_and_helpers(
    prompt: str, entry_point: str | None, statements: list[str]
) -> None:
    assert list(preamble(prompt, entry_point)) == statements


@pytest.mark.parametrize(
    "answer",
    [
        "def half(n):\n    return n // 2\n",
        "Here:\n```python\ndef half(n):\n    return n // 2\n```\nDone.",
        "- Here:\n\n      ~~~~\n      def half(n):\n          return n // 2\n      ~~~~\n",
        "```text\nno program\n```\n```\ndef half(n):\n    return n // 2\n",
        "```\n    def half(n):\n        return n // 2\n```",
        "    def half(n):\n        return n // 2\n",
    ],
)
def test_a_program_is_taken_out_of_its_fence(answer: str) -> None:
    assert program_text(answer) == "def half(n):\n    return n // 2\n"


def test_what_is_no_program_is_unchanged() -> None:
    assert program_text("I give up.") == "I give up."


@pytest.mark.slow
def test_what_a_line_imports_is_run_before_the_program(tmp_path: Path) -> None:
    check = "def check(candidate):\n    assert candidate(9) == 4\n"
    lines = [
        {"prompt": TYPED + '    """Halve."""\n', "test": check, "entry_point": "half"},
        {"prompt": "Halve.", "test": ["assert half(9) == 4"],
         "test_imports": ["from typing import *"]},
        {"prompt": "Halve.", "test": "assert half(N) == 4",
         "test_setup_code": "from typing import Optional\nN = 9"},
        {"prompt": f"import no_such_module\n{TYPED}", "test": check, "entry_point": "half"},
        {"prompt": f"from __future__ import annotations\n{TYPED}", "test": check,
         "entry_point": "half"},
    ]  # fmt: skip
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    items, faults = read_items(path)
    assert not faults
    right = "def half(n: int) -> Optional[int]:\n    return n // 2\n"
    with GraderPool(GraderKind.CODE) as pool:
        for item in items:
            assert pool.grade(right, item.answer, item.preamble)
            assert not pool.grade(right.replace("//", "+"), item.answer, item.preamble)
        undefined = right.replace("Optional[int]", "Undefined")
        assert not pool.grade(undefined, items[0].answer, items[0].preamble)
        assert pool.grade(undefined, items[4].answer, items[4].preamble)  # never evaluated
        assert not pool.grade(right, items[0].answer)


@pytest.mark.slow
def test_a_stub_in_a_prompt_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    test = "def check(candidate):\n    assert candidate(9) is None\n"
    path.write_text(json.dumps({"prompt": f"{TYPED}    pass", "test": test, "entry_point": "half"}))
    ((item,), _) = read_items(path)
    with GraderPool(GraderKind.CODE) as pool:
        assert not pool.grade("x = 1", item.answer, item.preamble)
