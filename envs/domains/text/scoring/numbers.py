"""Answers that are numbers, with a tolerance. Compared exactly, as fractions."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 400
"""Characters of an answer that is looked through for a number."""
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_NUMBER = re.compile(
    rf"(?<![\w.,])[-−+]?[$€£]?(?:{_DIGITS})(?:[eE][-+]?[0-9]{{1,3}}(?!\w))?(?![.,]?[0-9]|[eE][-+]?[0-9])"
)
_FRACTION = re.compile(r"([-−+]?[0-9]{1,100})\s*/\s*([0-9]{1,100})")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_NO_DIGIT = str.maketrans("−", "-", ",$€£+")


def number(text: str) -> Fraction | None:
    """The number that a text gives: the only one in it, also with a unit or a currency, or a fraction a/b.

    None where it holds none or several. Thousands are set apart by commas, decimals by a point. `50%` is 50.
    """
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if found := _FRACTION.fullmatch(text):
        below = int(found[2])
        return Fraction(int(found[1].translate(_NO_DIGIT)), below) if below else None
    numbers = _NUMBER.findall(text)
    if len(numbers) != 1:
        return None
    mantissa, _, power = numbers[0].translate(_NO_DIGIT).lower().partition("e")
    return Fraction(mantissa) * Fraction(10) ** int(power or 0)


class Tolerance:
    """How far an answer may be from the gold answer: a number, or a share of the gold answer such as `1%`."""

    def __init__(self, text: str | float) -> None:
        """Raises ValueError for anything else."""
        share = _SHARE.fullmatch(str(text).strip())
        self.absolute = Fraction(0) if share else Fraction(str(text).strip())
        self.relative = Fraction(share[1]) / 100 if share else Fraction(0)
        if self.absolute < 0:
            raise ValueError("it is below 0")

    def allows(self, gold: Fraction, answer: Fraction) -> bool:
        """Whether the answer is near enough."""
        return abs(gold - answer) <= max(self.absolute, self.relative * abs(gold))

    def beyond(self, gold: Fraction) -> Fraction:
        """A number that is too far from the gold answer."""
        return gold + 1 + 2 * max(self.absolute, self.relative * abs(gold))


def same_number(gold: str, answer: str, tolerance: Tolerance) -> bool:
    """Whether both texts give a number, and these are near enough."""
    wanted, found = number(gold), number(answer)
    return wanted is not None and found is not None and tolerance.allows(wanted, found)
