"""The costly part of comparing two final answers: their structure, and last their algebra (`algebra`).

Structure is equations, lists, sets, pairs, intervals, unions, matrices and formulas with a unit. Nothing
here has a limit on time: `worker` runs it in a child process that is stopped when it takes too long.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from dataenvgym.envs.domains.math.scoring.algebra import symbolic
from dataenvgym.envs.domains.math.scoring.forms import FUNCTIONS, quantity, quick

Same = Callable[[str, str], bool]

_COMMAND = rf"\\(?!(?:{'|'.join(sorted(FUNCTIONS))})(?![A-Za-z]))[a-z]+"
_MARKED = r"\\(?:overline|bar|vec|hat|tilde|widehat|overrightarrow)\s*\{?\s*[A-Za-z]{1,2}\s*\}?"
_SYMBOL = (
    rf"(?:(?:m\s*)?\\(?:angle|triangle)\s*[A-Z]{{1,3}}|{_MARKED}|[A-Z]{{2}}|[A-Za-z]|{_COMMAND})"
    r"(?:_\{?[\w+-]+\}?)?'{0,3}"
)
_FUNCTION = r"(?:\s*\^\s*\{\s*-1\s*\})?\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\)"
_NAME = (
    rf"(?:{_SYMBOL}(?:{_FUNCTION})?|[fghpqFGHPQ]\s*\([^()]*(?:\([^()]*\)[^()]*)?\)"
    rf"|\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL})+\s*\))"
)
"""`x`, `x_1`, `AB`, `\\theta`, `\\angle A`, `\\vec{v}`, `f(x)`, `f^{-1}(x)`, `f(3)`, `(x, y)`."""
_MATRIX = re.compile(r"\\begin\s*\{([pbB]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_OPEN, _CLOSE = "([{", ")]}"


def same(a: str, b: str, depth: int = 0) -> bool:
    """Whether two normal forms (`forms.normal_form`) are the same answer."""
    settled = quick(a, b)
    if settled is not None or depth > 6:
        return bool(settled)
    parts = compare_parts(a, b, lambda x, y: same(x.strip(), y.strip(), depth + 1))
    return symbolic(a, b) if parts is None else parts


class _Parts(NamedTuple):
    """Elements with the brackets around them; both "" for a bare list."""

    left: str
    right: str
    items: list[str]


def compare_parts(a: str, b: str, same: Same) -> bool | None:
    """Compares the parts of two normal forms by `same`; None when neither has parts it knows.

    Sets and bare lists in any order; pairs, tuples and vectors in order; intervals with their brackets;
    unions and `\\pm` as the set of their members; `x = 5` is 5, but not `y = 5`.
    """
    for compare in (_equations, _plus_minus, _unions, _matrices, _sequences, _with_units, _unwrapped):
        result = compare(a, b, same)
        if result is not None:
            return result
    return None


def _equations(a: str, b: str, same: Same) -> bool | None:
    """An equation is the value of the bare symbol on one of its sides, and of nothing else."""
    if not _is_equation(a) and not _is_equation(b):
        return None
    first, second = _assignment(a), _assignment(b)
    if _is_equation(a) and _is_equation(b):
        # y = x + 1 and x = y - 1 are one line: that is for the algebra.
        return same(first[1], second[1]) if first and second and first[0] == second[0] else None
    named, other = (first, b) if _is_equation(a) else (second, a)
    return named is not None and same(named[1], other)


def _is_equation(form: str) -> bool:
    """Whether an equals sign (or that of a set's member) stands outside all brackets of a single formula."""
    single = len(_split(form, ",")) == 1 and not re.search(r"\s(?:and|or)\s", form)
    return single and (len(_split(form, "=")) > 1 or _member(form) is not None)


def _assignment(form: str) -> tuple[str, str] | None:
    """(name, value) of `x = 5`, `5 = x`, `f(x) = 2x`, `x \\in S` or a chain `x = 2 + 3 = 5`."""
    sides = [side.strip().removesuffix(":") for side in _split(form, "=")]
    if len(sides) == 1:
        return _member(form)
    for name, value in ((sides[0], sides[-1]), (sides[-1], sides[0])):
        if re.fullmatch(rf"{_NAME}\s*", name):
            return name.replace(" ", ""), value
    return None


def _member(form: str) -> tuple[str, str] | None:
    match = re.fullmatch(rf"\s*({_NAME})\s*\\in(?![A-Za-z])(.*)", form, re.DOTALL)
    return (match[1].replace(" ", ""), match[2]) if match else None


def _plus_minus(a: str, b: str, same: Same) -> bool | None:
    if "\\pm" not in a and "\\pm" not in b:
        return None
    return _unordered(_signs(a), _signs(b), same)


def _signs(form: str) -> list[str]:
    if form.count("\\pm") == 1:
        return [form.replace("\\pm", sign).strip() for sign in "+-"]
    return _elements(form).items


def _unions(a: str, b: str, same: Same) -> bool | None:
    first, second = (_split(form, r"\cup") for form in (a, b))
    if len(first) == 1 and len(second) == 1:
        return None
    # Unequal counts may still be one set: (0,1) ∪ [1,2) is (0,2). That is for the algebra.
    return _unordered(first, second, same) if len(first) == len(second) else None


def _matrices(a: str, b: str, same: Same) -> bool | None:
    first, second = _matrix(a), _matrix(b)
    if first is None and second is None:
        return None
    if first is None or second is None:
        # A vector may be written as a column, a row or a tuple.
        flat = _vector(first or second or [])
        other = _elements(b if second is None else a)
        return (
            flat is not None and other.left in _OPEN[:2] and other.left != "" and _ordered(flat, other.items, same)
        )
    return [len(r) for r in first] == [len(r) for r in second] and all(
        _ordered(r, s, same) for r, s in zip(first, second, strict=True)
    )


def _matrix(form: str) -> list[list[str]] | None:
    match = _MATRIX.fullmatch(form)
    if match is None:
        return None
    rows = [row for row in match[2].split(r"\\") if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def _vector(matrix: list[list[str]]) -> list[str] | None:
    if len(matrix) == 1:
        return matrix[0]
    return [row[0] for row in matrix] if all(len(row) == 1 for row in matrix) else None


def _sequences(a: str, b: str, same: Same) -> bool | None:
    first, second = _elements(a), _elements(b)
    if len(first.items) == 1 and len(second.items) == 1:
        return None
    if len(first.items) != len(second.items):
        # An interval may equal an inequality, which has no comma; nothing else of another length is equal.
        relation = re.search(r"[<>]|\\[lg]e(?![a-z])", a + b)
        return None if relation else False
    kinds = {first.left + first.right, second.left + second.right}
    if kinds <= {"", "{}"}:
        return _unordered(first.items, second.items, same)
    if "{}" in kinds:
        return False
    if len(kinds) == 2 and "" not in kinds and (len(first.items) == 2 or kinds != {"()", "[]"}):
        return False
    return _ordered(first.items, second.items, same)


def _elements(form: str) -> _Parts:
    """The members of a list, a set, a tuple or an interval; the form itself when it is none of them."""
    if quantity(form) is not None:
        return _Parts("", "", [form])
    s = form.strip().replace("\\{", "{").replace("\\}", "}")
    left = right = ""
    if len(s) >= 2 and s[0] in _OPEN and s[-1] in _CLOSE and _closes_at_end(s):
        left, right, s = s[0], s[-1], s[1:-1]
    if not left:
        s = re.sub(r",?\s+(?:and|or)\s+", ", ", s)
    spaced = s.split(", ")
    numbers = len(spaced) > 1 and all(quantity(piece.strip()) for piece in spaced)
    items = spaced if numbers else _split(s, ",")
    if len(items) == 1:
        return _Parts("", "", [form])
    return _Parts(left, right, [item.strip() for item in items])


def _closes_at_end(s: str) -> bool:
    depth = 0
    for i, char in enumerate(s):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0:
            return i == len(s) - 1
    return False


def _split(form: str, separator: str) -> list[str]:
    """Splits where no bracket is open; the closing bracket of an interval need not be of the same kind."""
    pieces, depth, start = [], 0, 0
    for i, char in enumerate(form):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0 and form.startswith(separator, i):
            pieces.append(form[start:i])
            start = i + len(separator)
    return [*pieces, form[start:]]


def _ordered(first: list[str], second: list[str], same: Same) -> bool:
    return len(first) == len(second) and all(same(x, y) for x, y in zip(first, second, strict=True))


def _unordered(first: list[str], second: list[str], same: Same) -> bool:
    if len(first) != len(second):
        return False
    # Equal texts first: "5" is both "5 cm" and "5 m", and must not take the partner of "5 cm".
    rest = list(second)
    others = []
    for item in first:
        if item in rest:
            rest.remove(item)
        else:
            others.append(item)
    for item in others:
        match = next((other for other in rest if same(item, other)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def _with_units(a: str, b: str, same: Same) -> bool | None:
    first, second = _core(a), _core(b)
    if not first[1] and not second[1]:
        return None
    if first[1] and second[1] and first[1] != second[1]:
        return False
    return same(first[0], second[0])


def _core(form: str) -> tuple[str, str]:
    """(formula, unit) of `3\\sqrt{7} inches`; the unit is "" where there is none."""
    match = re.fullmatch(
        r"(.*(?:[0-9})]|\\pi))(\s+(?:[A-Za-z]+[ /])*[A-Za-z]+(?:\s?\^\{?[23]\}?)?)", form, re.DOTALL
    )
    if match is None:
        return form, ""
    # The unit is read as it would be behind a number; what is no unit there is none here.
    read = quantity("1" + match[2])
    return (match[1], read.unit) if read is not None and read.unit else (form, "")


def _unwrapped(a: str, b: str, same: Same) -> bool | None:
    """Takes off one pair of outer brackets around a single member: `(5)`, `{x+1}`, the set `{5}`."""
    first, second = _bare(a), _bare(b)
    return None if (first, second) == (a, b) else same(first, second)


def _bare(form: str) -> str:
    s = form.replace("\\{", "{").replace("\\}", "}")
    if len(s) >= 2 and s[0] + s[-1] in ("()", "{}") and _closes_at_end(s) and len(_split(s[1:-1], ",")) == 1:
        return s[1:-1].strip()
    return form
