import re
from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answer_readers import BoxReader, CodeReader, PatternReader, new_reader
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.fences import code_blocks, program

BOXED, CODE = AnswerForm.parse("boxed"), AnswerForm.parse("code")
NUMBER = AnswerForm.parse(r"Answer: (\d+)\.")


@pytest.mark.parametrize(
    ("text", "newest", "form", "answer"),
    [
        (r"so \boxed{7}", 1, BOXED, "7"),
        (r"so \boxed{\frac{1}{2}}", 1, BOXED, r"\frac{1}{2}"),
        (r"so \boxed{\frac{1}{2}", 1, BOXED, None),
        (r"\boxed{1} and \boxed{2}.", 2, BOXED, "2"),
        (r"\boxed{1} and }", 1, BOXED, None),
        (r"\boxed{1} and", 3, BOXED, None),
        (r"\boxed{ }", 1, BOXED, None),
        (r"\boxed{1 \boxed{2}}", 1, BOXED, r"1 \boxed{2}"),
        ("a\n```python\nx = 1\n```", 3, CODE, "x = 1\n"),
        ("a\n```python\nx = 1\n```\n", 1, CODE, None),
        ("a\n```python\nx = 1\n", 1, CODE, None),
        ("```\n```", 3, CODE, None),
        ("```\na\n```\ntext\n```py", 5, CODE, None),
        ("```\na\n```\ntext\n```py\nb\n```", 1, CODE, "b\n"),
        ("Answer: 42.", 1, NUMBER, "42"),
        ("Answer: 42", 1, NUMBER, None),
        ("Answer: 42. Yes", 3, NUMBER, None),
        ("It is 5!", 1, AnswerForm.parse(r"\d!"), "5!"),
    ],
)
def test_an_answer_is_found_when_it_is_complete(
    text: str, newest: int, form: AnswerForm, answer: str | None
) -> None:
    assert new_reader(form).read(text, newest) == answer


def pieces_of(text: str, cuts: list[int]) -> Iterator[tuple[str, int]]:
    """Yield a text as it grows, and the number of its newest characters."""
    begin = 0
    for end in sorted({*(cut % (len(text) + 1) for cut in cuts), len(text)} - {0}):
        yield text[:end], end - begin
        begin = end


def box_in(text: str, newest: int) -> str | None:
    """Return the content of the last box that the newest characters close, looked for anew."""
    for start in reversed([box.end() for box in re.finditer(r"\\boxed{", text)]):
        depths = accumulate((sign == "{") - (sign == "}") for sign in text[start:])
        end = next((start + n for n, depth in enumerate(depths) if depth < 0), -1)
        if end >= len(text) - newest and text[start:end].strip():
            return text[start:end].strip()
    return None


def program_in(text: str, newest: int) -> str | None:
    """Return the program that the newest characters complete, looked for in the whole text."""
    closed = [one for one in code_blocks(text) if (one.closed_at or 0) > len(text) - newest]
    content = program(closed[-1]) if closed else ""
    return content if content.strip() else None


def match_in(pattern: str, text: str, newest: int) -> str | None:
    """Return what Python's own engine finds in the whole text."""
    matches = [
        one for one in re.finditer(pattern, text, re.ASCII) if one.end() > len(text) - newest
    ]
    return matches[-1].group(1).strip() or None if matches else None


CUTS = st.lists(st.integers(0, 1000), max_size=60)


@given(st.lists(st.sampled_from([r"\boxed{", "{", "}", "}}", "7", " ", "\\", "boxed{"])), CUTS)
def test_boxes_in_pieces_are_those_of_the_whole_text(parts: list[str], cuts: list[int]) -> None:
    reader = BoxReader()
    for text, newest in pieces_of("".join(parts), cuts):
        assert reader.read(text, newest) == box_in(text, newest)


FENCED = ["```", "````", "~~~", "`", "\n", "\n", "x", " ", "> ", "- ", "md\n", "\r\n"]


@given(st.lists(st.sampled_from(FENCED), max_size=60), CUTS)
def test_programs_in_pieces_are_those_of_the_whole_text(parts: list[str], cuts: list[int]) -> None:
    reader = CodeReader()
    for text, newest in pieces_of("".join(parts), cuts):
        assert reader.read(text, newest) == program_in(text, newest)


@pytest.mark.parametrize(
    "pattern", ["a([^a]*)b", r"\b(a+)", "(é.)", "^(b a?)", "(?m)^(a)$", "(b|)[a ]b"]
)
@given(st.text("ab é\n"), CUTS)
def test_matches_in_pieces_are_those_of_the_whole_text(
    pattern: str, text: str, cuts: list[int]
) -> None:
    reader = PatternReader(pattern)
    for part, newest in pieces_of(text, cuts):
        assert reader.read(part, newest) == match_in(pattern, part, newest)


def test_a_pattern_sees_the_last_4096_characters_and_one_before_them() -> None:
    assert PatternReader("^x+!").read("x" * 4096 + "!", 1) is None
    assert PatternReader(r"\bx+!").read("x" * 4096 + "!", 1) is None
    assert PatternReader(r"\bx+!").read("y " + "x" * 4095 + "!", 1) == "x" * 4095 + "!"
    assert PatternReader("^x+!").read("x" * 5000 + "!", 5001) == "x" * 5000 + "!"


def test_a_pattern_that_backtracks_without_end_is_searched_in_linear_time() -> None:
    assert PatternReader("(?:x+x+)+y").read("x" * 4000 + "!", 1) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(", "not a regular expression of RE2: missing [)]"),
        (r"(a)\1", "not a regular expression of RE2: invalid escape sequence"),
        ("a(?=b)", "not a regular expression of RE2: invalid perl operator"),
        ("\ud800", "not a regular expression of RE2: .* surrogates not allowed"),
        (".{1000}", "compiles to [0-9]+ instructions and at most 2000 are allowed"),
        ("x*", "empty"),
    ],
)
def test_bad_patterns_are_named(pattern: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        AnswerForm.parse(pattern)
