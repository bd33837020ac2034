"""What counts as the answer of a text, and which answers are the same. Mirrors docs/answer_forms.md."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.math.domain import MATH, MathRow, render_answer
from dataenvgym.envs.domains.math.scoring import worker as math_worker
from dataenvgym.envs.domains.math.scoring.answers import boxed, equal, extract_answer
from dataenvgym.envs.errors import MissingDependencyError

PAIRS = [
    # fractions and decimals
    ("1/2", r"\frac12", True),
    ("1/2", r"\dfrac{1}{2}", True),
    ("1/2", "0.5", True),
    ("1/2", ".5", True),
    ("1/2", "2/4", True),
    ("1/2", "1/3", False),
    ("1/2", "½", True),
    (r"\frac{-1}{2}", r"-\frac{1}{2}", True),
    (r"\frac{1}{3}", "0.333333", True),
    (r"\frac{1}{3}", "0.33", False),
    (r"\frac{41\pi}{4}", "41π/4", True),
    (r"\frac 74", "7/4", True),
    # mixed numbers
    (r"2\frac{1}{2}", "5/2", True),
    ("2 1/2", "2.5", True),
    ("-1 1/2", "-1.5", True),
    (r"2\frac{1}{2}", "1", False),
    ("5½", "5.5", True),
    # units
    ("5", "5 cm", True),
    ("5 cm", "5 m", False),
    ("5 cm", "5 centimeters", True),
    ("5 cm", "5", True),
    (r"8\text{ cm}", "8cm", True),
    (r"4 \text{ feet}", "4 ft", True),
    (r"320000 \mbox{ acres}", "320,000", True),
    ("5x", "5", False),
    ("6z", "6", False),
    ("10 square inches", "10 in^2", True),
    ("10 cm^2", "10 cm^3", False),
    (r"3\sqrt{7} \text{ inches}", r"3\sqrt{7}", True),
    (r"12\text{ cm}^2", "12 square centimeters", True),
    ("60 mph", "60", True),
    ("5 apples", "5 pears", False),
    ("5m", "5", False),
    # intervals and unions
    ("(0,1]", "(0,1)", False),
    ("(0,1]", "(0, 1]", True),
    ("[0,1)", "(0,1]", False),
    (r"(-\infty,-27)\cup(-27,\infty)", "(-27,oo) U (-oo,-27)", True),
    (r"(-\infty,-27)\cup(-27,\infty)", r"(-27,\infty)\cup(-\infty,-27)", True),
    (r"(5,\infty)", "x>5", True),
    (r"(5,\infty)", "x>=5", False),
    (r"[4,\infty)", r"x \in [4, \infty)", True),
    ("(0,2)", "[0,2]", False),
    # matrices and vectors
    (r"\begin{pmatrix} 2 \\ -1 \\ -5 \end{pmatrix}", r"\begin{bmatrix}2\\-1\\-5\end{bmatrix}", True),
    (r"\begin{pmatrix} 2 \\ -1 \\ -5 \end{pmatrix}", "(2,-1,-5)", True),
    (r"\begin{pmatrix} 2 \\ -1 \\ -5 \end{pmatrix}", "(2,-5,-1)", False),
    (
        r"\begin{pmatrix} 1 & 0 \\ 8 & 1 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 0 \\ 7+1 & 1 \end{pmatrix}",
        True,
    ),
    (
        r"\begin{pmatrix} 1 & 0 \\ 8 & 1 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 8 \\ 0 & 1 \end{pmatrix}",
        False,
    ),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}", False),
    (r"\begin{pmatrix} 18/5 \\ 1/2 \end{pmatrix}", r"\left(\frac{18}{5}, 0.5\right)", True),
    # sets and lists
    (r"\{1,2,3\}", r"\{3,1,2\}", True),
    ("{1,2}", "{1,3}", False),
    ("1, 2", "2,1", True),
    ("1 and 2", "2, 1", True),
    (r"\{1,2\}", "1,2", True),
    (r"\{1,2\}", "(1,2)", False),
    ("1,2", "1,2,3", False),
    (r"2+2i,\,-2-2i,\,-2+2i,\,2-2i", "2-2i, -2+2i, -2-2i, 2+2i", True),
    (r"\frac 74,7", "7, 1.75", True),
    ("x=1 or x=3", "3, 1", True),
    ("1,1,2", "1,2,2", False),
    # ordered pairs
    ("(1,2)", "(2,1)", False),
    ("(1,2)", r"\left( 1, 2 \right)", True),
    ("(1,2)", r"(1,\frac{4}{2})", True),
    ("(1,2)", "1, 2", True),
    ("(1,2)", "2, 1", False),
    # percent
    ("50%", "50", True),
    (r"50\%", "50 percent", True),
    ("50%", "0.5", True),
    ("1/2", r"50\%", True),
    ("50%", "5", False),
    ("50%", "51%", False),
    ("0.5%", "0.5", True),
    ("0.5%", "50", False),
    # LaTeX spacing
    (r"1,\!722", "1722", True),
    (r"3 \sqrt{2}", r"3\,\sqrt{2}", True),
    (r"x\ +\ 1", "x+1", True),
    (r"3\;000", "3000", False),
    (r"\left(1,\ 2\right)", "(1,2)", True),
    # words and choices
    (r"\text{Monday}", "monday", True),
    ("Monday", "Tuesday", False),
    (r"\text{(E)}", "E", True),
    ("(E)", "(D)", False),
    (r"\text{odd}", "odd", True),
    ("odd", "even", False),
    ("Monday", "Monday.", True),
    ("yes", "no", False),
    # degrees
    (r"155^\circ", "155", True),
    ("155°", "155 degrees", True),
    (r"95^\circ", "96", False),
    (r"\tan 15^\circ", r"2-\sqrt{3}", True),
    (r"\tan 15^\circ", r"\tan 15", False),
    # roots and pi
    (r"\sqrt{2}", "sqrt(2)", True),
    (r"\sqrt2", "√2", True),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    (r"\sqrt{2}", r"\sqrt{3}", False),
    (r"2\pi", "2pi", True),
    (r"2\pi", "2π", True),
    (r"\pi", "3.14", False),
    (r"\frac{640}{3}\pi", r"\frac{640\pi}{3}", True),
    # equations
    ("x=5", "5", True),
    ("x=5", "y=5", False),
    ("5", "x = 5", True),
    (r"y = \frac{63}{32}", "63/32", True),
    ("2x - y + 3z + 8 = 0", "2x+3z-y=-8", True),
    ("2x - y + 3z + 8 = 0", "2x+3z-y=8", False),
    ("y=2x+1", "2x+1", True),
    ("f(x)=x^2", "x^2", True),
    ("x=2+3=5", "5", True),
    ("y=x+1", "x=y-1", True),
    # polynomials and complex numbers
    ("-3x^2+9x-11", "9x-3x^2-11", True),
    ("x^2+2x+1", "(x+1)^2", True),
    ("x^2+1", "x^2-1", False),
    ("37a(a+3)", "37a^2+111a", True),
    (r"\frac{8-7x}{6}", r"\frac{8}{6}-\frac{7x}{6}", True),
    ("2 - b", "-b+2", True),
    ("6+3i", "3i+6", True),
    ("6+3i", "6-3i", False),
    ("(1+i)^2", "2i", True),
    (r"\frac{2}{x} + 4x^2", "4x^2+2/x", True),
    ("x^6-5832", "x^6 - 18^3", True),
    # plus or minus
    (r"\pm 2", "2, -2", True),
    (r"\pm 2", "2", False),
    (r"3\pm\sqrt{2}", r"3-\sqrt2, 3+\sqrt2", True),
    ("±3", r"\pm 3", True),
    # scientific notation
    (r"3\times 10^8", "300000000", True),
    ("3e8", r"3 \cdot 10^{8}", True),
    ("1.5 x 10^-3", "0.0015", True),
    ("3e8", "3e9", False),
    ("-2^{49}", "-562949953421312", True),
    ("10^6", "1,000,000", True),
    # times and ratios
    ("3:45", "3:54", False),
    ("3:45", "3:45 p.m.", True),
    ("3:45 am", "3:45 pm", False),
    ("3:45", "03:45", True),
    ("1:2", "2:4", False),
    ("3:45", "345", False),
    # money
    ("$1,000", "1000", True),
    (r"\$15.17", "15.17", True),
    ("$5", "€5", False),
    ("$5", "5 dollars", True),
    ("$5", "$6", False),
    ("$2 million", "2000000", True),
    (r"$\$5$", "5", True),
    # signs, zeros, thousands
    ("-5", "−5", True),
    ("-5", "5", False),
    ("- 5", "-5", True),
    ("+5", "5", True),
    ("007", "7", True),
    ("5.0", "5", True),
    ("5.", "5", True),
    ("1,000", "(1,000)", False),
    ("1,000", "1000", True),
    ("1,234", "1, 234", False),
    ("1,000", "1.000", False),
    ("12,34", "1234", False),
    ("1 2", "12", False),
    ("5 7", "12", False),
    ("5 m", "500 cm", False),
    ("3:4", "3/4", False),
    ("1{,}000", "1000", True),
    ("{5 cm, 5}", "{5, 5 cm}", True),
    # bases, functions, junk
    ("1232_4", "1232", True),
    ("1232_4", "1232_5", False),
    ("1232_4", "1232_{4}", True),
    ("2^3", "8", True),
    ("10!", "3628800", True),
    (r"\binom{5}{2}", "10", True),
    ("5!", "5", False),
    (r"\infty", "infinity", True),
    (r"\cot x", r"\frac{1}{\tan x}", True),
    (r"\log_2 8", "3", True),
    ("5", "there are 5 of them", False),
    ("5", "not 6 but 5", False),
    ("", "", False),
    ("5", "", False),
    ("$x$", "x", True),
    ("(5)", "5", True),
    (r"\frac{1}{0}", r"\frac{2}{0}", False),
    ("9^9^9^9", "9^9^9^9+0", False),
    ("x^2", "x²", True),
    ("90 units", "90", True),
    ("20°C", "20", True),
    ("5 + 3", "8", True),
    ("3/4", "3:4", False),
    ("0", "-0", True),
    ("1/2", "1 / 2", True),
    (r"\frac{1}{2}x", "x/2", True),
    ("|x|", "x", False),
    ("1e400", "1e401", False),
    ("A", "B", False),
    ("no solution", "None", False),
    ("2x", "2y", False),
]


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


BOMBS = [
    "9**9**9**9",
    "9^{9^{9^{9}}}",
    r"5^{\left(5^{\left(5^{\left(5^5\right)}\right)} - 4\right)}",
    "99999999!",
    "1e999999999",
    "(" * 500,
    "{" * 900,
    r"\frac{" * 150,
    r"\sqrt{" * 50 + "2" + "}" * 50,
    r"\pm" * 300,
    "x=" * 400,
    "1," * 499,
    "\x00\ud800",
    " " * 999,
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_answers_are_wrong_and_come_to_an_end(bomb: str) -> None:
    for gold in ("5", "x+1", "(1,2)"):
        assert equal(gold, bomb) is False
        assert equal(bomb, gold) is False
    extract_answer(bomb)
    extract_answer("\\boxed{" * 3000 + bomb)


def test_endless_algebra_is_stopped_and_the_next_comparison_works() -> None:
    # One call into C that no Python code can interrupt, past every pattern that catches towers.
    assert equal("x + 2", r"\binom{99999999}{4999999}") is False
    assert equal("x + 2", "2 + x") is True


def test_missing_algebra_is_an_error_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('no math_verify here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(math_worker, "_child", None)
    with pytest.raises(MissingDependencyError, match=r"no math_verify here.*pip install"):
        math_worker.compare("x+1", "1+x")


def test_scores_from_many_threads() -> None:
    pairs = [(f"x+{i}", f"{i + i % 2}+x") for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda pair: MATH.read_back(pair[0], f"Answer: {pair[1]}"), pairs))
    assert results == [(answer, i % 2 == 0) for i, (_, answer) in enumerate(pairs)]


def test_a_forked_process_does_not_talk_through_its_parents_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equal("y+3", "3+y")
    parents = math_worker._child
    # What a forked copy sees: a child that another process started.
    monkeypatch.setattr(math_worker, "_owner", -1)
    assert math_worker.compare("y+4", "4+y")
    assert math_worker._child is not parents
    assert parents is not None
    assert parents.poll() is None
    parents.kill()
    parents.communicate()


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


def test_render_answer_is_one_line() -> None:
    assert render_answer("Add.", "4") == "Add.\nAnswer: 4"
    assert render_answer("", "4") == "Answer: 4"
    assert render_answer("Add.\n", "\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}").splitlines()[1:] == [
        "Answer: \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"
    ]


def test_row_takes_a_json_number_as_its_text_and_drops_a_marked_line() -> None:
    row = MathRow.model_validate({"question": "2+2?", "solution": "Add.\n**Answer:** 4", "answer": 4})
    assert (row.answer, row.solution) == ("4", "Add.")
    assert MathRow.model_validate({"question": "q", "solution": "s", "answer": 0.5}).answer == "0.5"


@pytest.mark.parametrize(
    "change",
    [
        {"answer": " "},
        {"answer": True},
        {"answer": float("nan")},
        {"question": ""},
        {"solution": ""},
    ],
)
def test_row_refuses(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        MathRow.model_validate({"question": "q", "solution": "s", "answer": "a", **change})


def test_keys_that_nobody_asked_for_cost_no_row() -> None:
    row = MathRow.model_validate({"question": "q", "solution": "s", "answer": "a", "difficulty": "easy"})
    assert row.answer == "a"


def test_the_teacher_sees_a_description_of_every_field() -> None:
    schema = MathRow.model_json_schema()
    assert schema["properties"].keys() == {"question", "solution", "answer"}
    assert all(field["description"] and field["type"] == "string" for field in schema["properties"].values())
