"""What counts as the answer of a text, and which answers are the same. Mirrors docs/answer_forms.md."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_pairs import PAIRS

from dataenvgym.envs.domains.math.domain import MATH, render_answer
from dataenvgym.envs.domains.math.scoring import algebra
from dataenvgym.envs.domains.math.scoring.algebra import symbolic
from dataenvgym.envs.domains.math.scoring.answers import boxed, equal, extract_answer


@pytest.mark.parametrize(("gold", "answer", "expected"), PAIRS)
def test_pairs_in_both_directions(gold: str, answer: str, expected: bool) -> None:
    assert equal(gold, answer) is expected
    assert equal(answer, gold) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 2 = 4\nAnswer: 4", "4"),
        ("answer: 4.", "4"),
        ("ANSWER : $4$", "4"),
        ("**Answer:** 4", "4"),
        ("**Answer: 4**", "4"),
        ("### Answer: 4", "4"),
        ("**Final Answer**: 4", "4"),
        ("Final answer: x = 5", "x = 5"),
        ("The answer: 4", "4"),
        ("Answer:\n\n4\n", "4"),
        ("Answer:\n\\[\n\\boxed{4}\n\\]", "4"),
        ("Answer: $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("Answer: 3\nNo, wrong.\nAnswer: 4", "4"),
        ("Answer: 4\nSo \\boxed{3} and 17", "4"),
        ("The answer is 4.", "4"),
        ("so the final answer is: 0.5. I hope it is correct.", "0.5"),
        ("So it is 7. Answer: 4", "4"),
        ("Answer: 5 cm", "5 cm"),
        ("Answer: (0, 1]", "(0, 1]"),
        ("Answer: $5$ dollars", "$5$ dollars"),
        ("Answer: $1,000", "$1,000"),
        ("we get \\boxed{\\frac{1}{\\sqrt{2}}}.", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\fbox{7}", "7"),
        ("\\boxed 5$", "5"),
        ("\\boxed{2} and \\boxed{unclosed", "2"),
        ("The answer is what we seek: \\boxed{3}", "3"),
        ("6 * 7 = 42\n#### 42", "42"),
        ("#### 1,000", "1,000"),
        ("first 3, then 42.", "42"),
        ("it costs $1,250.50!", "$1,250.50"),
        ("it falls to -3", "-3"),
        ("10-5", "5"),
        ("no number here", None),
        ("", None),
        ("Answer:", None),
    ],
)
def test_extraction(text: str, expected: str | None) -> None:
    assert extract_answer(text) == expected


def test_boxed_without_a_box_is_none() -> None:
    assert boxed("nothing") is None
    assert boxed("\\boxed{}") is None


text = st.text(max_size=80) | st.text("0123456789xX+-*/^=(){}[],.\\ $%fracsqrt:boxedAnswer\n#_&", max_size=60)


@settings(max_examples=300, deadline=None)
@given(text)
def test_extraction_never_raises(s: str) -> None:
    assert extract_answer(s) is None or extract_answer(s)


@settings(max_examples=60, deadline=None)
@given(text, text)
def test_equality_never_raises_and_is_symmetric(a: str, b: str) -> None:
    assert equal(a, b) is equal(b, a)


numbers = (
    st.integers(-(10**30), 10**30).map(str)
    | st.decimals(-(10**9), 10**9, places=4).map(lambda d: f"{d:f}")
    | st.fractions(max_denominator=10**6).map(str)
    | st.fractions(max_denominator=999).map(lambda f: f"\\frac{{{f.numerator}}}{{{f.denominator}}}")
)


@given(numbers)
def test_a_number_equals_itself_and_survives_the_round_trip(number: str) -> None:
    assert equal(number, number)
    for solution in ("", "We add.\nSo 7, and \\boxed{8}."):
        extracted, correct = MATH.read_back(number, render_answer(solution, number))
        assert extracted == number
        assert correct


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_equal_exactly_when_they_are_the_same(n: int, m: int) -> None:
    assert equal(str(n), str(m)) is (n == m)
    assert equal(str(n), f"{n:,}")
    assert equal(str(n), f"${n}$")
    assert equal(f"{n}", f"{n}.0")


@given(st.fractions(max_denominator=10**4), st.fractions(max_denominator=10**4))
def test_fractions_are_equal_exactly_when_their_values_are(p: Fraction, q: Fraction) -> None:
    assert equal(f"{p.numerator}/{p.denominator}", f"\\frac{{{q.numerator}}}{{{q.denominator}}}") is (p == q)
    assert equal(f"{p.numerator}/{p.denominator}", f"\\dfrac{{{3 * p.numerator}}}{{{3 * p.denominator}}}")


names, small = st.sampled_from("xyab"), st.integers(2, 9)
linear = st.tuples(small, names, st.integers(-9, 9)).map(lambda t: f"{t[0]}{t[1]} + ({t[2]})")
shapes = [
    "{}",
    "({})^{{7}}",
    "\\sqrt{{{}}}",
    "\\frac{{1}}{{{}}}",
    "\\sin({})",
    "\\log({})",
    "({})^{{99}}",
    "({})^{{999}}",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(shapes), linear, linear)
def test_different_formulas_are_settled_by_calculation(shape: str, one: str, other: str) -> None:
    """`simplify` takes up to seconds for each of these: the reason why short pairs were slow."""
    a, b = shape.format(one), shape.format(other)

    def slow(first: object, second: object) -> bool:
        raise AssertionError(f"{first} and {second} were given to math_verify")

    with pytest.MonkeyPatch.context() as patch:
        if one != other:
            patch.setattr(algebra, "_verified", slow)
        assert symbolic(a, b) is (one == other)
        assert symbolic(f"{a} = y^3", f"{b} = y^3") is (one == other)


@settings(max_examples=60, deadline=None)
@given(linear, st.integers(-9, 9), st.integers(2, 9))
def test_an_equation_is_itself_in_other_forms_and_none_of_its_sides(left: str, right: int, factor: int) -> None:
    equation = f"{left} = {right}"
    assert equal(equation, f"{right} = {left}")
    assert equal(equation, f"{factor}({left}) = {factor * right}")
    assert equal(equation, f"{left} - ({right}) = 0")
    assert not equal(equation, f"{left} = {right + 1}")
    for side in (left, str(right)):
        assert not equal(equation, side) and not equal(side, equation)
        assert equal(f"z = {side}", side) and equal(side, f"g(t) = {side}") and equal(f"{side} = z", side)


@given(
    st.integers(0, 10**15),
    st.sampled_from([",\\!", ",\\! ", "\\,", "{,}\\!", "{\\,}", "~", "\u2009"]),
    st.sampled_from(["", "-"]),
)
def test_digit_groups_are_one_number(number: int, separator: str, sign: str) -> None:
    written = sign + f"{number:,}".replace(",", separator)
    assert equal(written, f"{sign}{number}")
    assert not equal(written, f"{sign}{number + 1}")
    assert equal(f"({written}, 7)", f"({sign}{number}, 7)")


@given(st.integers(0, 99), st.text("0123456789", max_size=4), st.text("0123456789", min_size=1, max_size=6))
def test_a_repeating_decimal_is_its_fraction(whole: int, first: str, block: str) -> None:
    value = Fraction(
        int(f"{whole}{first}{block}") - int(f"{whole}{first}"), 10 ** len(first + block) - 10 ** len(first)
    )
    for written in (f"{whole}.{first}\\overline{{{block}}}", f"{whole}.{first}\\bar{{{block}}}"):
        assert equal(written, str(value))
        assert equal(f"-{written}", str(-value))
        assert not equal(written, str(value + Fraction(1, 10**7)))
