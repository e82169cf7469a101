import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import AnswerForm, completed_answer

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
    assert completed_answer(text, newest, form) == answer


@given(st.text(alphabet="\\boxed{}7 "), st.integers(1, 4))
def test_the_pieces_find_a_box_exactly_once(before: str, size: int) -> None:
    text = before.replace("{", "(").replace("}", ")") + r"\boxed{7}, so"
    found = [
        completed_answer(text[:end], end - begin, BOXED)
        for begin in range(0, len(text), size)
        for end in (min(len(text), begin + size),)
    ]
    assert [answer for answer in found if answer is not None] == ["7"]


@pytest.mark.parametrize(
    ("pattern", "sentence"), [("(", "not a regular expression"), ("x*", "empty")]
)
def test_bad_patterns_are_named(pattern: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        AnswerForm.parse(pattern)
