"""`hogwild eval` as its user calls it, on a tiny model."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    lines = [{"question": "1 + 1?", "answer": "2"}, {"q": "?"}, {"question": "2?", "answer": "3"}]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def options(data: Path, tiny_dir: Path) -> list[object]:
    return [
        data, "--grader", "number", "--model", tiny_dir, "--max-tokens", 6, "--budgets", "2,4",
        "--finisher-tokens", 4, "--out", data.parent / "out.jsonl",
    ]  # fmt: skip


def test_an_evaluation_ends_with_a_table_and_goes_on_where_it_stopped(
    hogwild,
    data: Path,
    tiny_dir: Path,
) -> None:
    out = data.parent / "out.jsonl"
    done = hogwild("eval", *options(data, tiny_dir), "--teams", "peers", "--limit", 1)
    assert done.code == 0
    assert "1/1  peers  line 1" in done.err
    with out.open("a") as file:
        file.write('{"team": "peers", "see')  # an interruption in the middle of a line
    done = hogwild("eval", *options(data, tiny_dir), "--seeds", "0,1")
    assert "Line 2 has no question" in done.err
    assert "7/7" in done.err
    assert "line 3" in done.err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 1 + 8
    assert [len(line["right"]) for line in lines[1:]] == [3] * 8
    for row in ("peers", "independent"):
        assert sum(line.startswith(row) for line in done.out.splitlines()) == 3
    page = out.with_suffix(".html")
    assert page.read_text().count('<div class="transcript">') == 8
    page.unlink()
    done = hogwild("eval", *options(data, tiny_dir), "--seeds", "0,1")
    assert "done before" in done.err
    table = done.out
    done = hogwild("report", out, "--out", data.parent / "p.html", "--plots", data.parent / "plots")
    assert done.out == table
    assert done.code == 0
    assert {path.name for path in (data.parent / "plots").iterdir()} == {
        "accuracy.svg",
        "redundancy.svg",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-tokens", "7"], "began with max_tokens 6 and now it is 7"),
        (["--budgets", "99"], "budget of 99 steps cannot be reached"),
        (["--teams", "zoo"], "Unknown team 'zoo'"),
        (["--seeds", ""], "There is nothing to run"),
        (["--question-field", "zoo"], "holds no question"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    hogwild,
    data: Path,
    tiny_dir: Path,
    arguments: list,
    sentence: str,
) -> None:
    first = hogwild("eval", *options(data, tiny_dir), "--teams", "peers", "--limit", 1)
    assert first.code == 0
    done = hogwild("eval", *options(data, tiny_dir), *arguments)
    assert done.code == 2
    assert sentence in done.err
