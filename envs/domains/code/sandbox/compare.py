"""Whether what a program gave is what was expected, as LiveCodeBench compares.

More lenient than there, and in nothing else:
- a number agrees with an expected one that is written with a point or an exponent to a part in a million (there
  exactly); with an expected integer it must be equal here too;
- a returned tuple counts as a list at any depth (there at the top only);
- a dict's keys are compared as JSON writes them, since expected values are JSON;
- a returned NaN is equal to an expected one, and a returned Decimal or Fraction to a float near it.
"""

import decimal
import fractions
import math
from collections.abc import Callable
from typing import Any

TOLERANCE = 1e-6
"""Relative for large numbers, absolute for those below one."""


class Items(tuple[Any, ...]):
    """The items of a dict that a program gave. They are not hashed: it may have chosen them to collide."""

    def __repr__(self) -> str:
        """As a dict is written."""
        return "{" + ", ".join(f"{key!r}: {value!r}" for key, value in self) + "}"


class Bag(tuple[Any, ...]):
    """The items of a set or an iterator that a program gave, which is equal to no JSON value."""

    def __repr__(self) -> str:
        """As a set is written, which says that it is no list."""
        return "{" + ", ".join(map(repr, self)) + "}" if self else "set()"


MADE: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "dict": Items, "set": Bag, "frozenset": Bag, "iter": Bag}
"""What becomes of a program's containers here."""


def same_value(expected: Any, got: Any) -> bool:
    """Compare a returned value with a JSON value. A tuple counts as a list; a set does not. A number may be near
    an expected float, but must equal an expected integer."""
    try:
        return _same(expected, got)
    except (RecursionError, ArithmeticError):  # the latter of decimals that are no number
        return False


def _same(expected: Any, got: Any) -> bool:
    if isinstance(got, Bag):
        return False
    if isinstance(got, dict):
        got = Items(got.items())
    if isinstance(got, tuple) and not isinstance(got, Items):
        got = list(got)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_same(e, g) for e, g in zip(expected, got, strict=True))
    if isinstance(expected, dict) and isinstance(got, Items):
        by_name = {_json_key(key): value for key, value in got}
        return (
            len(got) == len(by_name) == len(expected)
            and by_name.keys() == expected.keys()
            and all(_same(value, by_name[key]) for key, value in expected.items())
        )
    if isinstance(got, decimal.Decimal | fractions.Fraction) and _numbers(expected):
        return bool(expected == got) or (isinstance(expected, float) and _close(expected, float(got)))
    if isinstance(expected, float):
        return _numbers(got) and _close(expected, got)
    return bool(expected == got)


def _numbers(value: Any) -> bool:
    return isinstance(value, int | float)


def _close(expected: float, got: float) -> bool:
    if expected == got:
        return True
    try:
        if math.isnan(expected) or math.isnan(got):
            return math.isnan(expected) and math.isnan(got)
        return math.isclose(expected, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # an int that no float can hold
        return False


def _json_key(key: Any) -> str | None:
    """A key as JSON writes it; None for what is no JSON key."""
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int | float) and abs(key) < 1e300:
        return repr(key)
    return key if isinstance(key, str) else None


def same_output(expected: str, got: str) -> bool:
    """Compare printed text line by line, ignoring white space around lines; a line of numbers agrees when its
    numbers do, which may be near an expected one that has a point or an exponent."""
    mine, other = _lines(expected), _lines(got)
    return len(mine) == len(other) and all(_same_line(e, g) for e, g in zip(mine, other, strict=True))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_line(expected: str, got: str) -> bool:
    if expected == got:
        return True
    words, others = expected.split(), got.split()
    try:
        return len(words) == len(others) and all(_same_number(e, g) for e, g in zip(words, others, strict=True))
    except decimal.DecimalException:
        return False


def _same_number(expected: str, got: str) -> bool:
    e, g = decimal.Decimal(expected), decimal.Decimal(got)
    if e == g:
        return True
    if not (e.is_finite() and g.is_finite() and set(".eE") & set(expected)):
        return False
    return abs(e - g) <= decimal.Decimal(TOLERANCE) * max(decimal.Decimal(1), abs(e))
