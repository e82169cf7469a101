"""What is right and what is not, grader by grader."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.evaluation import graders
from hogwild_dist.evaluation.grading import GraderError, GraderKind
from hogwild_dist.evaluation.numerals import last_number


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
        ("7E4", "70000"),
        ("2.5E-3", "0.0025"),
        ("6*10**4", "60000"),
        ("6 * 10**-2", "0.06"),
        ("6 × 10⁴", "60000"),
        (r"\cfrac{3}{4}", "0.75"),
        (r"2\tfrac{3}{4}", "2.75"),
        (r"\frac{3,600}{4}", "900"),
        (r"\frac{1.5}{3}", "0.5"),
        (r"0.\overline{6}", r"\frac{2}{3}"),
        (r"0.1\overline{6}", "1/6"),
        ("0.(45)", "5/11"),
        # bold and italic text
        ("It is **42**.", "42"),
        ("**Answer: 42**", "42"),
        ("**Answer:** 42", "42"),
        ("**$42**", "42"),
        ("***42***", "42"),
        ("__42__", "42"),
        ("_42_ apples", "42"),
        ("*42*", "42"),
        ("<b>42</b>", "42"),
        ("**-42**", "-42"),
        ("**1,042** of them", "1042"),
        ("**3/4**", "0.75"),
        ("**7*10**2**", "700"),
        ("答案是**42**。", "42"),
        ("It is **42", "42"),
        (r"$\mathbf{42}$", "42"),
        # degrees, trailing points, groups of India
        ("45°", "45"),
        (r"45^{\circ}", "45"),
        ("42.", "42"),
        ("3,20,000", "320000"),
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
        ("10**2", "10"),
        ("10**2", "2"),
        ("2**3**2", "2"),
        ("5 **2", "5"),
        ("x**2", "2"),
        ("**42**", "4242"),
        ("3E5", "3"),
        ("3,20,000", "0"),
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
        ("45°", "45"),
        (r"45\degree", "45"),
        (r"\cos 60°", r"\cos 60^\circ"),
        (r"0.\overline{6}", r"\frac{2}{3}"),
        (r"0.1\overline{6}", r"\frac{1}{6}"),
        (r"0.\dot{1}4285\dot{7}", r"\frac{1}{7}"),
        ("0.(45)", r"\frac{5}{11}"),
        (r"0.\overline{9}", "1"),
        ("42.", "42"),
        ("(4., 2.)", "(4, 2)"),
        (r"\frac{1}{4}.", "0.25"),
        ("**42**", "42"),
        ("__42__", "42"),
        ("$**42**$", "42"),
        (r"\textbf{42}", "42"),
        (r"**\frac{1}{4}**", "0.25"),
        ("**Answer: 42**", "42"),
        ("7E4", "70000"),
        ("7e4", "70000"),
        ("2e-1", "0.2"),
        ("2e-1", "-1+2e"),
        ("6*10**4", "60000"),
        (r"6 \times 10^4", "60000"),
        ("x**2+1", "1+x^2"),
        ("2**3**2", "512"),
        (r"\cfrac{3}{4}", "0.75"),
        (r"\dfrac{3}{4}", "0.75"),
        (r"\tfrac34", "0.75"),
        (r"\frac{3,600}{4}", "900"),
        ("3,00,000", "300000"),
        ("1,234,567", "1234567"),
        (r"50\%", "0.5"),
        ("f(x)=3x+2^3", "f(x)=8+3x"),
        ("Yvette", r"\text{Yvette}"),
        # decimals are rounded
        (r"\frac{2}{3}", "0.666667"),
        (r"\sqrt{3}", "1.732051"),
        ("3.1415926", r"\pi"),
        # written alike, or the same product
        ("12:00", "12:00"),
        ("10^{10^{10}}", "10^{10^{10}}"),
        ("2^{10^{10}}", r"4^{5 \cdot 10^9}"),
        ("1, 2, ..., n", r"1, 2, \ldots, n"),
        ("1000!", r"1000 \cdot 999!"),
        (r"\frac{2^{3000}}{2^{2999}}", "2"),
        (r"\{2^{-90}, \sqrt{2}\}", r"\{\sqrt{2}, 2^{-90}\}"),
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
        (r"\frac{2}{3}", "0.67"),
        (r"0.\overline{6}", "0.666"),
        (r"\{1,200\}", "1200"),
        ("1:30", "12:30"),
        # numbers far below the precision of floats, alone and inside something
        ("2^{-90}", "2^{-91}"),
        ("1/1500!", "1/1502!"),
        ("1500!", "1502!"),
        ("1/(7*3^900)", "(3^899+1)/(7*3^900)"),
        ("0.0000003", "0.0000004"),
        ("0", "0.0000003"),
        (r"0.0000003\%", r"0.0000004\%"),
        ("x = 0.0000003", "0.0000004"),
        (r"\{0.0000003, 1\}", r"\{0.0000004, 1\}"),
        ("(1, 2^{-90})", "(1, 2^{-91})"),
        ("[2^{-90}, 1)", "[2^{-91}, 1)"),
        ("x < 2^{-90}", "x < 2^{-91}"),
        (r"\begin{pmatrix}2^{-90}\\1\end{pmatrix}", r"\begin{pmatrix}2^{-91}\\1\end{pmatrix}"),
        (r"\sqrt{3} \cdot 2^{-90}", r"\sqrt{3} \cdot 2^{-91}"),
        (r"\sqrt{3} + 2^{-90}", r"\sqrt{3} + 2^{-91}"),
        (r"\frac{x}{2^{90}}", r"\frac{x}{2^{91}}"),
        # numbers that cannot be written out
        ("10^{10^{10}}", "10^{10^{10}}+1"),
        ("10^{10^{10}}", "11^{10^{10}}"),
        ("(10^{10})!", "(10^{10}+1)!"),
        ("2^{2^{2^{2^{2^2}}}}", "65536"),
        (r"\Gamma(10^{9})", "1"),
        ("9^{9^{9^9}}", "9^{9^{9^8}}"),
        ("1, 3, ..., 2n-1", "1, 2, ..., n"),
        ("n=1, 2", "n=2, 3"),
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
        ("__B__", "B"),
        ("_B_", "B"),
        ("***(B)***", "B"),
        ("<b>B</b>", "B"),
        ("**B)** Vitamin C", "B"),
        ("The answer is __D__.", "D"),
        ("__Answer__: D", "D"),
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


EXACT = st.integers(-(2**200), 2**200)


@given(EXACT, EXACT.filter(bool), EXACT, EXACT.filter(bool))
def test_fractions_are_the_same_where_python_says_so(
    top: int, bottom: int, other_top: int, other_bottom: int
) -> None:
    answer, known = rf"\frac{{{top}}}{{{bottom}}}", rf"\frac{{{other_top}}}{{{other_bottom}}}"
    same = Fraction(top, bottom) == Fraction(other_top, other_bottom)
    assert graders.same_mathematics(answer, known) == same
    factor = 2**100 + 1
    assert graders.same_mathematics(rf"\frac{{{top * factor}}}{{{bottom * factor}}}", answer)
    assert not graders.same_mathematics(
        rf"\frac{{{top * factor + 1}}}{{{bottom * factor}}}", answer
    )


@given(st.integers(0, 9999), st.text("0123456789", max_size=4), st.text("0123456789", min_size=1))
def test_repeating_decimals_are_their_fractions(whole: int, fixed: str, digits: str) -> None:
    repeated = Decimal(f"{whole}.{fixed}{digits * 60}")
    text = rf"{whole}.{fixed}\overline{{{digits}}}"
    value = last_number(text)
    assert abs(value - Fraction(repeated)) <= Fraction(1, 10 ** (len(fixed) + 59 * len(digits)))
    assert value.denominator <= 10 ** (len(fixed) + len(digits))
    assert last_number(text.replace(r"\overline", r"\bar")) == value


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, max_value=10**6, min_value=-(10**6)
    )
)
@pytest.mark.parametrize("mark", ["**", "__", "*", "_", "***"])
def test_a_bold_number_is_the_number(mark: str, number: Decimal) -> None:
    assert last_number(f"So it is {mark}{number}{mark}.") == Fraction(number)


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
