"""The last step of comparing two final answers: algebra on formulas, equations and inequalities.

Most wrong answers differ from the gold answer at any number put in for the variables. Such a pair is settled by
calculation, in about a millisecond; `math_verify` (sympy's `simplify` and `solve`) takes up to seconds for it.
"""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from dataenvgym.envs.domains.math.scoring.forms import FUNCTIONS

MAX_SYMBOLIC = 300
"""Longest text given to the computer algebra; the longest gold answers of MATH have fewer characters."""
MAX_DEGREE = 30
"""Equations of a higher degree are compared by calculation alone."""
DIGITS = 15
_TOLERANCE = 1e-5  # `math_verify` rounds to six decimals where one of the two has a decimal point
_EXACT = 1e-9  # relative
_POINTS = ("17/23", "-29/19", "59/37", "-7/43", "83/31")
"""What is put in for the variables, each getting another of them; of both signs, since |x| is not x."""
_LINE = (*(f"{11 * n + 3}/23" for n in range(-14, 15)), "-101/3", "101/3")
"""Where inequalities are tried."""


def symbolic(a: str, b: str) -> bool:
    """Whether two formulas are the same by algebra; False for what is no formula.

    Text with plain words, two numbers side by side or a tower of powers is not parsed: `math_verify` would
    pick a number out of the words, add the numbers, or never return.
    """
    if not (_is_formula(a) and _is_formula(b)):
        return False
    return any(_same(first, second) for first, second in product(_parsed(a), _parsed(b)))


def _is_formula(form: str) -> bool:
    if len(form) > MAX_SYMBOLIC or re.search(r"[0-9]\s+[0-9]", form):
        return False
    words = re.findall(r"(?<![A-Za-z\\])[A-Za-z]{3,}", form)
    if any(word.lower() not in FUNCTIONS for word in words):
        return False
    # 9^9^9, 9^{9^9}, (9^9)^9, 9^9! and exponents of five digits cannot be computed and are no one's answer.
    power = r"\^\s*(?:[0-9A-Za-z]+|[({][^)}]*[)}]?)\s*"
    tower = rf"{power}(?:\^\s*[({{]*\s*[0-9]|!)|\^\s*[({{]*[0-9]{{5}}|[0-9]{{4,}}\s*!|!\s*!"
    return re.search(tower, form) is None


def _parsed(form: str) -> list[Any]:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # Its own reading of units would take the m of 5m for metres and drop it.
    normal = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True)
    config = [LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normal)]
    # The limit on time is the child process's: the library's own needs the main thread.
    return [_with_imaginary_unit(e) for e in parse(f"${form}$", config, "no_fallback", parsing_timeout=None)]


def _with_imaginary_unit(expression: Any) -> Any:
    """The parser takes i for a variable; an answer that has it means the imaginary unit."""
    from sympy import I

    symbols = [s for s in getattr(expression, "free_symbols", ()) if s.name == "i"]
    return expression.subs(dict.fromkeys(symbols, I)) if symbols else expression


def _same(first: Any, second: Any) -> bool:
    from sympy import Eq, Expr, Set, Symbol
    from sympy.core.relational import Relational

    if isinstance(first, Eq) or isinstance(second, Eq):
        # An equation is not one of its sides, as which `math_verify` would take it.
        return isinstance(first, Eq) and isinstance(second, Eq) and _same_equation(first, second)
    if isinstance(first, Relational) and isinstance(second, Relational):
        same = _same_inequality(first, second)
        return _verified(first, second) if same is None else same
    ranges = (Relational, Set)
    if isinstance(first, ranges) and isinstance(second, ranges) and _differ_on_the_line(first, second):
        return False
    formulas = isinstance(first, Expr) and isinstance(second, Expr)
    if formulas and not isinstance(first, Symbol) and not isinstance(second, Symbol) and _differ(first, second):
        return False
    return _verified(first, second)


def _verified(first: Any, second: Any) -> bool:
    from math_verify import verify

    options = {"timeout_seconds": None, "allow_set_relation_comp": True}
    return bool(verify(first, second, **options) or verify(second, first, **options))


def _differ(first: Any, second: Any) -> bool:
    """Whether two formulas have clearly different values somewhere."""
    from sympy import UnevaluatedExpr

    if first.has(UnevaluatedExpr) or second.has(UnevaluatedExpr):  # a percent sign
        return False
    for one, other in _values((first, second)):
        if abs(one - other) > _TOLERANCE + _EXACT * max(abs(one), abs(other)):
            return True
    return False


def _values(expressions: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The values of formulas where all of them can be calculated, at each of a few points."""
    from sympy import Rational

    names = sorted(set().union(*(e.free_symbols for e in expressions)), key=str)
    found = []
    for shift in range(len(_POINTS) if names else 1):
        point = {name: Rational(_POINTS[(at + shift) % len(_POINTS)]) + at for at, name in enumerate(names)}
        values = [_number(e.evalf(DIGITS, subs=point)) for e in expressions]
        if all(value is not None for value in values):
            found.append(tuple(values))
    return found


def _number(value: Any) -> Any:
    """The finite number that a formula was evaluated to, of any size, or None."""
    from mpmath import isfinite, mpc

    try:
        number = mpc(*value.as_real_imag())
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _same_equation(first: Any, second: Any) -> bool:
    """Whether one equation is the other times a number, or both say the same of polynomials.

    Polynomials are compared without repeated factors and without denominators: `x^2 - 4x + 4 = 0` is `x = 2`.
    """
    from sympy import Poly, PolynomialError, together

    one, other = first.lhs - first.rhs, second.lhs - second.rhs
    if one.free_symbols != other.free_symbols or not one.free_symbols:
        return bool(first == second)
    if _proportional(one, other):
        return True
    if max(map(_degree, (one, other))) > MAX_DEGREE:
        return False
    try:
        names = sorted(one.free_symbols, key=str)
        roots = [Poly(together(side).as_numer_denom()[0], *names).sqf_part() for side in (one, other)]
    except PolynomialError:
        return False
    return _proportional(*(polynomial.as_expr() for polynomial in roots))


def _proportional(one: Any, other: Any) -> bool:
    pairs = _values((one, other))
    if len(pairs) < 3 or any(abs(x) < _EXACT or abs(y) < _EXACT for x, y in pairs):
        return False
    ratios = [x / y for x, y in pairs]
    return all(abs(ratio - ratios[0]) <= _EXACT * abs(ratios[0]) for ratio in ratios)


def _degree(expression: Any) -> float:
    """The sum of the exponents in a formula: at least its degree, and known without expanding it."""
    from sympy import Pow

    return sum(abs(float(p.exp)) if p.exp.is_number and p.exp.is_real else 0.0 for p in expression.atoms(Pow))


def _same_inequality(first: Any, second: Any) -> bool | None:
    """Whether two inequalities hold for the same numbers; None where trying some numbers does not tell."""
    if _differ_on_the_line(first, second):
        return False
    sides = [r.gts - r.lts if r.rel_op in ("<", ">", "<=", ">=") else None for r in (first, second)]
    if None in sides or ("=" in first.rel_op) != ("=" in second.rel_op):
        return None
    pairs = _values(sides)
    same_sign = all((x / y).real > 0 for x, y in pairs if y)
    return True if pairs and same_sign and _proportional(*sides) else None


def _differ_on_the_line(first: Any, second: Any) -> bool:
    """Whether some numbers, put in for the variables, are within one of two ranges and not within the other."""
    from sympy import Rational, Set

    names = sorted(first.free_symbols | second.free_symbols, key=str)
    if len(names) > 1 and (isinstance(first, Set) or isinstance(second, Set)):
        return False
    for shift in range(len(_LINE)):
        point = {name: Rational(_LINE[(shift + 7 * at) % len(_LINE)]) for at, name in enumerate(names)}
        if {_holds(part, point) for part in (first, second)} == {True, False}:
            return True
    return False


def _holds(part: Any, point: dict[Any, Any]) -> bool | None:
    """Whether an inequality is true of numbers, or a set has the one number; None where it cannot tell."""
    from sympy import Set, false, true

    try:
        found = part.contains(*point.values()) if isinstance(part, Set) else part.subs(point)
    except (TypeError, ValueError, NotImplementedError):
        return None
    return True if found == true else False if found == false else None
