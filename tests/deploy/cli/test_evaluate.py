"""`hogwild eval` as its user calls it, on a tiny model."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from hogwild_dist.deploy.cli.app import main

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def write_data(folder: Path) -> Path:
    path = folder / "data.jsonl"
    lines = [{"question": "1 + 1?", "answer": "2"}, {"q": "?"}, {"question": "2?", "answer": "3"}]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Path:
    """A folder with a dataset, and the results of its first line."""
    data = write_data(tmp_path_factory.mktemp("first_run"))
    words = ["hogwild", "eval", *options(data, tiny_dir), "--teams", "peers", "--limit", 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(map(str, words)))
        with pytest.raises(SystemExit) as done:
            main()
    assert not done.value.code
    return data.parent


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
        (["--max-tokens", "7"], "began with max_tokens 6, but now it is 7"),
        (["--budgets", "99"], "budget of 99 steps cannot be reached"),
        (["--teams", "zoo"], "Unknown team 'zoo'"),
        (["--seeds", ""], "--seeds names no seed"),
        (["--seeds", "a"], "--seeds is 'a'; give whole numbers separated by commas: 0,1,2."),
        (["--seeds", "0,1,0"], "--seeds names 0 2 times"),
        (["--teams", " , "], "--teams names no team"),
        (["--teams", "peers, peers"], "names two teams 'peers' (peers and peers)"),
        (["--limit", "0"], "limit is 0; it must be at least 1"),
        (["--limit", "-1"], "limit is -1; it must be at least 1"),
        (["--question-field", "zoo"], "holds no question"),
        (["--question-field", "question"], "began with question_field None"),
        (["--dtype", "float64"], "began with dtype None, but now it is 'float64'"),
        (["--workers", "3"], "has runs of another team 'peers'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    hogwild, first_run: Path, tmp_path: Path, tiny_dir: Path, arguments: list, sentence: str
) -> None:
    folder = shutil.copytree(first_run, tmp_path / "run")
    done = hogwild("eval", *options(folder / "data.jsonl", tiny_dir), *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert "left out" not in done.err  # of what is wrong the refusal alone is told


def test_a_page_is_never_written_over_something_else(
    hogwild, data: Path, tiny_dir: Path, tmp_path: Path
) -> None:
    common = [data, "--grader", "number", "--model", tiny_dir, "--max-tokens", 4]
    done = hogwild("eval", *common, "--out", tmp_path / "r.html")
    assert (done.code, done.out) == (2, "")
    assert "The page would overwrite" in done.err
    assert not (tmp_path / "r.html").exists()
    page_of_data = data.rename(tmp_path / "data.html")
    done = hogwild("eval", page_of_data, *common[1:], "--out", tmp_path / "data.jsonl")
    assert done.code == 2
    results = tmp_path / "r.jsonl"
    done = hogwild("eval", page_of_data, *common[1:], "--limit", 1, "--out", results)
    assert done.code == 0
    before = results.read_bytes()
    (tmp_path / "linked").symlink_to(results)
    (tmp_path / "hard").hardlink_to(results)
    for out in (results, tmp_path / "linked", tmp_path / "hard", page_of_data):
        kept = out.read_bytes()
        done = hogwild("report", results, "--out", out)
        assert done.code == 2
        assert "The page would overwrite" in done.err
        assert out.read_bytes() == kept
    assert results.read_bytes() == before
    assert hogwild("report", results).code == 0  # over its own page


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b'{"question": "?", "answer": 1}\n' * 2, b"[" * 10**5 + b"\n"]
)
def test_odd_files_are_no_results(hogwild, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    done = hogwild("report", path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "contain results of an evaluation" in done.err or "is empty" in done.err
    assert "Is a directory" in hogwild("report", tmp_path).err
    assert "Is a directory" in hogwild("report", ".").err


def test_an_evaluation_that_never_began_leaves_no_file(hogwild, data: Path, tiny_dir: Path) -> None:
    out = data.parent / "out.jsonl"
    done = hogwild("eval", *options(data, tiny_dir), "--model", data.parent / "none")
    assert done.code == 2
    assert not out.exists()
    assert hogwild("eval", *options(data, tiny_dir), "--max-tokens", 5, "--limit", 1).code == 0


def test_a_team_or_dataset_that_has_changed_is_refused(
    hogwild, data: Path, tiny_dir: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text("size = 1")
    one, other = (tmp_path / folder / "mine.toml" for folder in ("a", "b"))
    call = ["eval", *options(data, tiny_dir), "--limit", 1, "--teams"]
    done = hogwild(*call, f"{one},{other}")
    assert f"names two teams 'mine' ({one} and {other})" in done.err
    assert hogwild(*call, f" {one}, peers ").code == 0
    assert hogwild(*call, f"{other}").code == 0  # the same team in another place
    one.write_text("size = 1\nothers = {role = 'thinks'}")
    assert "another team 'mine'" in hogwild(*call, f"{one}").err
    data.write_text(data.read_text().replace("1 + 1", "1 + 2"))
    assert "began with data_sha256" in hogwild(*call, f"{other}").err


def test_lines_that_are_no_questions_are_named(
    hogwild, data: Path, tiny_dir: Path, tmp_path: Path
) -> None:
    data.write_bytes(
        b"\xef\xbb\xbf" + data.read_bytes() + b"\n" + b"[" * 10**5
        + b'\n{"question": "\\ud800?", "answer": "1"}\n{"question": "?", "answer": "\\ud800"}'
    )  # fmt: skip
    done = hogwild("eval", *options(data, tiny_dir), "--teams", "peers")
    assert done.code == 0
    assert "Line 4 is not JSON" in done.err
    assert "The question of line 5 contains '\\ud800'" in done.err
    assert "The answer of line 6 contains '\\ud800'" in done.err
    assert "2/2  peers  line 3" in done.err
    assert hogwild("report", data.parent / "out.jsonl").code == 0


def test_signs_are_explained_and_a_missing_library_is_named_first(
    hogwild, data: Path, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogwild_dist.deploy.cli.commands.report.find_spec", lambda _: None)
    done = hogwild("eval", *options(data, tiny_dir), "--teams", "peers", "--limit", 1)
    assert done.code == 0
    missing, legend, progress = done.err.splitlines()
    assert "Page and plots need matplotlib" in missing
    assert "pip install -e '.[eval]'" in missing
    assert legend == "+ right, - wrong, ? not graded: after 2 steps, after 4 steps, at the end"
    assert progress.startswith("1/1  peers  line 1, seed 0  ")
    assert not (data.parent / "out.html").exists()
    assert hogwild("report", data.parent / "out.jsonl").code == 2


def test_a_run_that_could_not_be_graded_is_run_again(hogwild, data: Path, tiny_dir: Path) -> None:
    out = data.parent / "out.jsonl"
    call = ["eval", *options(data, tiny_dir), "--teams", "peers", "--limit", 1]
    assert hogwild(*call).code == 0
    header, line = out.read_text().splitlines()
    failed = json.dumps({**json.loads(line), "right": [False, None, False], "error": "it died"})
    out.write_text(f"{header}\n{failed}\n")
    rows = [row.split() for row in hogwild("report", out).out.splitlines()[1:]]
    assert [row[row.index("to") + 2] for row in rows] == ["0", "1", "0"]  # failed
    other = hogwild(*call, "--seeds", 1)
    assert "failed and count as wrong" not in other.err  # it would not run that again
    done = hogwild(*call)
    assert "1/1  peers  line 1" in done.err
    assert "failed and count as wrong" not in done.err


def test_names_of_teams_are_no_markup(hogwild, data: Path, tiny_dir: Path) -> None:
    path = data.parent / "[red]a_$x$[y].toml"
    path.write_text("size = 1")
    done = hogwild("eval", *options(data, tiny_dir), "--teams", path, "--limit", 1)
    assert done.code == 0
    assert done.out.splitlines()[1].startswith("[red]a_$x$[y] ")
    assert "[red]a_$x$[y]" in (data.parent / "out.html").read_text()


def test_teams_of_several_sizes_go_into_one_file(hogwild, data: Path, tiny_dir: Path) -> None:
    call = ["eval", *options(data, tiny_dir), "--limit", 1]
    done = hogwild(*call, "--workers", 3, "--teams", "peers,solver-critic")
    assert "has 2 roles (Solver, Critic) and no [others]" in done.err
    assert not (data.parent / "out.jsonl").exists()
    assert hogwild(*call, "--workers", 3, "--teams", "peers").code == 0
    assert hogwild(*call, "--teams", "solver-critic").code == 0
    done = hogwild("report", data.parent / "out.jsonl")
    assert [line.split()[0] for line in done.out.splitlines()[1::3]] == ["peers", "solver-critic"]


@pytest.mark.parametrize(
    ("grader", "known", "why"),
    [
        ("number", "many", "does not end with a number"),
        ("choice", "B and C", "does not name exactly one letter"),
        ("math", r"\text{}", "math-verify cannot read the known answer"),
    ],
)
def test_a_known_answer_that_cannot_be_read_is_left_out(
    hogwild, tmp_path: Path, tiny_dir: Path, grader: str, known: str, why: str
) -> None:
    data = tmp_path / "data.jsonl"
    good = {"number": "2", "choice": "B", "math": r"\frac{1}{2}"}[grader]
    lines = [{"question": "?", "answer": answer} for answer in (known, good)]
    data.write_text("\n".join(map(json.dumps, lines)))
    call = ["eval", *options(data, tiny_dir), "--grader", grader, "--teams", "peers"]
    done = hogwild(*call, "--limit", 1)
    assert done.code == 0
    assert "Line 1 cannot be graded: " in done.err
    assert why in done.err.splitlines()[0]
    assert "1/1  peers  line 2" in done.err
    data.write_text(json.dumps(lines[0]))
    done = hogwild(*call)
    assert done.code == 2
    assert "holds no question: Line 1 cannot be graded" in done.err


def test_ctrl_c_says_how_to_go_on(
    hogwild, data: Path, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    call = ["eval", *options(data, tiny_dir), "--teams", "peers"]
    with monkeypatch.context() as patched:
        patched.setattr("hogwild_dist.deploy.cli.commands.evaluate.evaluate", interrupted)
        done = hogwild(*call)
    assert done.code == 130
    assert done.err.endswith("the same command continues\n")
    assert hogwild(*call).code == 0
