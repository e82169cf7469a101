"""Results on disk, and the page that is made of them."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.passages import Passage, passages
from hogwild_dist.evaluation.records import Record, Records
from hogwild_dist.evaluation.report import cells, columns, report, write_plots, write_report
from hogwild_dist.session.events import Answer, Interjected, ParagraphEnd, Text

SETTINGS = {"model": "a <model>", "budgets": [4]}
NASTY = "</div><script>alert(1)</script>\u2028\x85 {{ 1 + 1 }} & more"


def passage(who: str, begin: int, end: int, text: str = "word") -> Passage:
    return Passage(who=who, begin=begin, end=end, text=text)


RECORD = Record(
    team="peers",
    seed=0,
    line=1,
    question=NASTY,
    known="2",
    answers=("1", NASTY),
    right=(False, True),
    tokens=10,
    forwards=6,
    seconds=1.5,
    redundancy={"Alice": 0.25, "Bob": 0.75},
    transcript=(passage("Alice", 0, 5, NASTY), passage("Bob", 2, 3)),
)


def wrote(transcript: list[Passage]) -> Record:
    return replace(RECORD, transcript=tuple(transcript))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "r.jsonl", SETTINGS)
    made.add(RECORD)
    made.add(replace(RECORD, team="independent", right=(False, None), error="it <looped>"))
    made.add(Record(team="peers", seed=0, line=2, question="?", known="3", error="lost"))
    return made


def text(name: str, step: int, text: str) -> Text:
    worker = ("Alice", "Bob", "Finisher").index(name)
    return Text(step=step, worker=worker, name=name, token_ids=(), text=text)


def test_passages_are_cut_where_writing_paused() -> None:
    end = ParagraphEnd(
        step=2, worker=0, name="Alice", index=1, from_block="w0", to_block="common", moved=1,
        token_ids=(), text="one two", next_input=(), asked=False,
    )  # fmt: skip
    answer = Answer(step=4, worker=2, name="Finisher", of=None, answer="7", after=3, budget=3)
    events = [
        text("Alice", 0, "one "), text("Bob", 0, "b"), text("Alice", 2, "two"), end,
        text("Alice", 2, ""), text("Alice", 3, "three"), text("Finisher", 4, "7"), answer,
        Interjected(step=4, name="You", text="hello", token_ids=()),
        text("Finisher", 5, "8"),
    ]  # fmt: skip
    assert passages(events, 2) == [
        passage("Alice", 0, 2, "one two"),
        passage("Bob", 0, 0, "b"),
        passage("Alice", 3, 3, "three"),
        replace(passage("Finisher", 4, 4, "7"), stated=True),
        passage("You", 4, 4, "hello"),
        replace(passage("Finisher", 5, 5, "8"), stated=True),
    ]


def test_what_stands_side_by_side_was_written_at_the_same_time() -> None:
    transcript = [
        passage("Alice", 0, 5),
        passage("Bob", 0, 2),
        passage("Bob", 3, 9),
        passage("Alice", 6, 9),
        passage("You", 6, 6),
    ]
    placed = [(cell.column, cell.row, cell.end_row) for cell in cells(wrote(transcript))]
    # Rows 2, 3 and 4 begin at steps 0, 3 and 6.
    assert placed == [(1, 2, 4), (2, 2, 3), (2, 3, 5), (1, 4, 5), (3, 4, 5)]


def test_columns_stand_in_team_order_whoever_finished_first() -> None:
    transcript = [passage(who, 0, 3) for who in ("Finisher", "Bob", "Alice")]
    assert columns(wrote(transcript)) == ["Alice", "Bob", "Finisher"]
    assert columns(wrote(transcript[:2])) == ["Bob", "Finisher"]


def test_only_the_mark_of_a_wrong_question_is_red(records: Records) -> None:
    page = report(records)
    assert "span.wrong { color" in page
    assert not re.search(r"[^n]\.wrong \{", page)
    assert '<span class="wrong"' in page


def test_passages_of_one_worker_never_overlap() -> None:
    transcript = [passage("Alice", 0, 0), passage("Alice", 0, 0), passage("Alice", 0, 3)]
    placed = cells(wrote(transcript))
    for one, following in pairwise(placed):
        assert one.row < one.end_row <= following.row


class _Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_of_models_is_text_on_the_page(records: Records) -> None:
    page = _Page()
    page.feed(report(records))
    assert "script" not in page.tags
    assert page.tags.count("svg") == 2
    assert page.text.count(NASTY) >= 4
    for told in ("it <looped>", "lost", "Alice", "Bob", "a <model>"):
        assert told in page.text


def test_the_same_results_give_the_same_page(records: Records, tmp_path: Path) -> None:
    assert report(records) == report(Records(records.path))
    folder = tmp_path / "folder"
    assert [path.read_text()[:4] for path in write_plots(records, folder)] == ["<svg", "<svg"]


def test_a_page_that_cannot_be_written_is_one_sentence(records: Records, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(records, tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_plots(records, records.path)


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are_written(tmp_path: Path) -> None:
    names = ("_a$b$c_", "[red]x^{$", "$\\frac{$", "漢字")
    made = Records(tmp_path / "r.jsonl", SETTINGS)
    for name in names:
        made.add(replace(RECORD, team=name, redundancy={name: 0.5}))
    for figure in write_plots(made, tmp_path):
        page = _Page()
        page.feed(figure.read_text())
        for name in names:
            assert name in page.text
