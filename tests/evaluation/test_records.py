"""Results on disk: whatever happens to the file, nothing in it is lost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.records import Record, Records
from tests.evaluation.test_report import NASTY, RECORD, SETTINGS

RECORDS = (
    replace(RECORD, question="h\u00e9, \u6f22\u5b57"),
    replace(RECORD, team="independent", right=(False, None), error="it <looped>"),
    Record(team="peers", seed=0, line=2, question="?", known="3", error="lost"),
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "r.jsonl", SETTINGS)
    for record in RECORDS:
        made.add(record)
    return made


def test_results_are_read_as_they_were_written(records: Records) -> None:
    again = Records(records.path)
    assert again.all == records.all == list(RECORDS)
    assert again.settings == SETTINGS
    assert again.teams == ["peers", "independent"]
    assert again.budgets == (4,)


def test_results_hold_one_line_for_each_run(records: Records) -> None:
    lines = records.path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert [json.loads(line).get("line") for line in lines[1:]] == [1, 1, 2]


def test_a_run_that_failed_is_replaced_by_its_repetition(records: Records) -> None:
    assert [one.ran for one in records.all] == [True, True, False]
    assert [one.done for one in records.all] == [True, False, False]
    records.add(replace(RECORD, line=2))
    assert [one.done for one in Records(records.path).all] == [True, False, True]


def test_there_is_no_file_before_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Records(path, SETTINGS).check_writable()
    assert not path.exists()
    Records(path, {**SETTINGS, "model": "another"}).add(RECORD)
    assert Records(path).settings["model"] == "another"


def test_a_file_cut_anywhere_goes_on(records: Records) -> None:
    whole = records.path.read_bytes()
    for length in range(len(whole)):
        records.path.write_bytes(whole[:length])
        again = Records(records.path, SETTINGS)
        left = whole[:length].count(b"\n") - 1
        assert again.all == list(RECORDS[: max(0, left)])
        assert records.path.stat().st_size == length
        for record in RECORDS[max(0, left) :]:
            again.add(record)
        assert records.path.read_bytes() == whole


def test_line_ends_of_windows_lose_nothing(records: Records) -> None:
    records.path.write_bytes(records.path.read_bytes().replace(b"\n", b"\r\n"))
    again = Records(records.path, SETTINGS)
    again.add(replace(RECORD, line=3))
    assert Records(records.path).all == [*RECORDS, replace(RECORD, line=3)]


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(
    "line", ["my diary", '{"question": "1 + 1?", "answer": "2"}', '{"evaluation": 2}', "[" * 10**5]
)
def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path, line: str, end: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(line + end)
    for settings in (SETTINGS, None):
        with pytest.raises(ConfigError, match="does not contain results"):
            Records(path, settings)
    assert path.read_text() == line + end


HEADER = b'{"evaluation": 1, "budgets": []}\n'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"no json\n", "its first line is not the header"),
        (b"\xff\xfe\x00\n", "its first line is not the header"),
        (b"[]\n[]\n", "its first line is not the header"),
        (b'{"evaluation": 2, "budgets": []}\n', "its first line is not the header"),
        (b'{"evaluation": 1, "budgets": ["a"]}\n', "its first line is not the header"),
        (HEADER + b'{"team": "peers"}\n', "line 2 is not a record"),
        (HEADER + b'{"question": "?", "answer": 2}\n', "line 2 is not a record"),
        (HEADER + b'{"transcript": [{"zoo": 1}]}\n', "line 2 is not a record"),
        (HEADER + b"[" * 10**5 + b"\n", "line 2 is not a record"),
        (
            HEADER + b'{"team": "a", "seed": 0, "line": 1, "question": "?", "known": "2", '
            b'"answers": ["1", "2"], "right": [true, false]}\n',
            "line 2 has answers at other budgets",
        ),
    ],
)
def test_a_file_that_holds_something_else_is_refused(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as error:
        Records(path)
    assert "__init__" not in str(error.value)
    assert "pydantic" not in str(error.value)
    assert path.read_bytes() == content


def test_places_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used: No such file"):
        Records(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="cannot be used: Is a directory"):
        Records(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        Records(tmp_path / "none" / "r.jsonl", SETTINGS).check_writable()


def test_two_evaluations_do_not_write_to_one_file(records: Records) -> None:
    other = Records(records.path, SETTINGS)
    other.add(replace(RECORD, line=3))
    with pytest.raises(ConfigError, match="changed by another process"):
        records.add(replace(RECORD, line=4))
    assert Records(records.path).all == other.all


def test_other_settings_and_other_teams_are_refused(records: Records) -> None:
    with pytest.raises(ConfigError, match="began with budgets \\[4\\], but now it is \\[5\\]"):
        Records(records.path, {**SETTINGS, "budgets": [5]})
    records.add(replace(RECORD, team="mine", made_of="abc"))
    again = Records(records.path, SETTINGS)
    again.check_team("mine", "abc")
    again.check_team("new", "abc")
    with pytest.raises(ConfigError, match="has runs of another team 'mine'"):
        again.check_team("mine", "abd")


def test_half_a_character_does_not_stop_the_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    settings = {**SETTINGS, "data": "a\udcff"}
    Records(path, settings).add(replace(RECORD, error="\ud800"))
    again = Records(path, settings)
    assert [one.error for one in again.all] == ["?"]
    assert again.all[0].question == NASTY
