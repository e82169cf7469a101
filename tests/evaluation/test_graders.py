"""What is right and what is not, grader by grader."""

import pytest

from hogwild_dist.evaluation import graders
from hogwild_dist.evaluation.grading import GraderError, GraderKind


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("18", "so 16 - 3 - 4 = 9\n#### 18"),
        ("it is $1,200.50", "1200.5"),
        ("18.00", "18"),
        ("The answer is 18.", "18"),
        # signs
        ("\u22125", "-5"),
        ("\u20135", "-5"),
        ("-5", "\u22125"),
        ("x = -5", "-5"),
        ("10-5", "5"),
        ("pages 3\u20135", "5"),
        # thousands
        ("1,000", "1000"),
        ("1{,}000", "1000"),
        (r"1\,000", "1000"),
        (r"1,\!000", "1000"),
        ("1\u202f000", "1000"),
        ("1,234,567.5", "1234567.5"),
        ("#### 1,000", "1000"),
        # units
        ("12 cm^2", "12"),
        ("12 cm^{2}", "12"),
        (r"12\text{ cm}^2", "12"),
        ("12 cm²", "12"),
        ("12 cm**2", "12"),
        ("12 m2", "12"),
        ("9.8 m/s^2", "9.8"),
        (r"90^\circ", "90"),
        ("5kg", "5"),
        # percent signs and currency
        ("50%", "50"),
        (r"50\%", "50"),
        ("50", "50%"),
        (r"\$5", "5"),
        ("-$5", "-5"),
        ("$-5$", "-5"),
        ("US$5", "5"),
        ("€5", "5"),
        ("5 £", "5"),
        # fractions and powers of ten
        ("1/2", "0.5"),
        (r"\frac{1}{2}", "0.5"),
        (r"-\dfrac12", "-0.5"),
        (r"2\frac{1}{2}", "2.5"),
        (r"3 \times 10^{5}", "300000"),
        ("1.5e6", "1500000"),
    ],
)
def test_a_number_is_right(answer: str, known: str) -> None:
    assert graders.same_number(answer, known)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("19", "#### 18"),
        ("none", "#### 18"),
        ("-3", "#### 3"),
        ("\u22125", "5"),
        ("5", "\u22125"),
        ("10-5", "-5"),
        ("1,2", "12"),
        ("1{,}000", "0"),
        ("1{,}000", "1"),
        (r"1\,000", "0"),
        ("12 cm^2", "2"),
        ("12 cm²", "122"),
        ("12 m2", "2"),
        ("x_2", "2"),
        ("H2O", "2"),
        ("50%", "0.5"),
        ("0.5", "50%"),
        ("10^2", "2"),
        ("10^2", "10"),
        ("{10}^2", "10"),
        ("10²", "10"),
        ("3/4", "4"),
        (r"\frac{3}{4}", "4"),
        ("3½", "3"),
        (r"\sqrt{2}", "2"),
        (r"2\pi", "2"),
        ("10:30", "30"),
        ("1/0", "0"),
        ("1e999999999", "1"),
        ("9" * 5000, "9"),
    ],
)
def test_a_number_is_not_right(answer: str, known: str) -> None:
    assert not graders.same_number(answer, known)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\left(3, \frac{\pi}{2}\right)", r"\left( 3, \frac{\pi}{2} \right)"),
        ("x+1", "1+x"),
        ("\u22125", "-5"),
        ("1{,}000", "1000"),
        (r"1\,000", "1000"),
        (r"12\text{ cm}^2", "12"),
        (r"50\%", "50"),
        (r"\$5", "5"),
        (r"90^\circ", "90"),
    ],
)
def test_mathematics_is_right(answer: str, known: str) -> None:
    assert graders.same_mathematics(answer, known)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("7", "8"),
        ("\u22125", "5"),
        ("1,2", "12"),
        ("1{,}000", "1"),
        ("12 cm^2", "2"),
        ("12 cm^2", "12 m^2"),
        ("no idea", "8"),
        ("", "8"),
    ],
)
def test_mathematics_is_not_right(answer: str, known: str) -> None:
    assert not graders.same_mathematics(answer, known)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("[B]", "B"),
        ("**B**", "B"),
        (r"\text{(B)}", "B"),
        (r"\textbf{(B) } 12", "B"),
        ("(B) Vitamin C", "B"),
        ("B) Vitamin C", "B"),
        ("B: Vitamin C", "B"),
        ("B - Vitamin C", "B"),
        ("B\nas in Vitamin C", "B"),
        ("A. Plan B", "A"),
        ("A", "A"),
        ("I", "I"),
        ("The answer is C.", "C"),
        ("The answer is A", "A"),
        ("The answer is (C) because A is wrong", "C"),
        ("A) 1 or B) 2\nAnswer: B", "B"),
        ("The correct answer is option D", "D"),
        ("A is correct", "A"),
        ("I think B", "B"),
        ("Because", None),
        ("b", None),
        ("A good plan", None),
        ("I'm sure", None),
        ("A, B", None),
        ("A/B", None),
        ("(A) and (B)", None),
        ("The answer is A or B", None),
        ("Neither A nor B", None),
        ("not B", None),
        ("", None),
    ],
)
def test_a_choice_names_one_letter(answer: str, letter: str | None) -> None:
    right = {known for known in "ABCDEFGHIJ" if graders.same_choice(answer, known)}
    assert right == ({letter} if letter else set())


def test_the_known_choice_may_have_its_text() -> None:
    assert graders.same_choice("B", "(B) Vitamin C")
    assert not graders.same_choice("C", "(B) Vitamin C")


@pytest.mark.parametrize(
    ("kind", "known", "sentence"),
    [
        ("number", "a lot", "'a lot' does not end with a number"),
        ("choice", "A or B", "'A or B' does not name exactly one letter"),
        ("math", "", "cannot read the known answer ''"),
        ("code", "assert (", "the known tests are not valid Python"),
        ("code", "A = {}\n\n\nclass Tests:\n    def test(self):\n        f()\n", "run nothing"),
        ("code", "", "run nothing"),
    ],
)
def test_what_is_known_must_be_readable(kind: str, known: str, sentence: str) -> None:
    with pytest.raises(GraderError, match=sentence):
        graders.GRADERS[GraderKind(kind)]("1", known)


def test_every_kind_has_a_grader() -> None:
    assert set(graders.GRADERS) == set(GraderKind)
