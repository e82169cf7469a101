"""The files of a batch job; tests/actors/test_job_runs.py runs one."""

from pathlib import Path

import pytest

from hogwild_dist.deploy.cli.commands.job import Problem, read_done, read_problems
from hogwild_dist.errors import ConfigError


def test_problems_have_ids_or_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem": "A?"}\n\n{"id": "b", "problem": "B?"}\n')
    assert read_problems(path) == [Problem(1, "A?"), Problem("b", "B?")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"problem": "A?"}\nnonsense\n', 'Line 2 of .* is not {"problem": "..."}: \'nonsense\''),
        ('{"problem": ""}\n', "Line 1 of"),
        ('["A?"]\n', "Line 1 of"),
        ('{"id": 7, "problem": "A?"}\n{"id": 7, "problem": "B?"}\n', "has the id 7"),
        ('{"id": [1], "problem": "A?"}\n', r"has the id \[1\]"),
    ],
)
def test_lines_that_are_no_problems_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_problems(path)


def test_half_a_result_at_the_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": 1}\n{"id": "b"}\n{"id": 3, "tex')
    assert read_done(path) == {1, "b"}
    assert path.read_text() == '{"id": 1}\n{"id": "b"}\n'
    path.write_text("something else\n")
    with pytest.raises(ConfigError, match=r"Line 1 of .* is not a result of this job"):
        read_done(path)
