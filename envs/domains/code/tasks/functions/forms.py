"""What a form of the `functions` task is, and how the values of its problems and its test arguments are drawn."""

import operator
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

Values = dict[str, int | str]
"""What is put in a form's sentence, by field."""

SIGNS = {"greater than": ">", "less than": "<", "at least": ">=", "at most": "<="}
EQUAL = "equal to"
"""No problem compares so, but a wrong program may."""
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "greater than": operator.gt,
    "less than": operator.lt,
    "at least": operator.ge,
    "at most": operator.le,
    EQUAL: operator.eq,
}
CASES = ("upper", "lower")
_WORDS = """
apple bird blue boat book box bread cake cat cold cup dark day dog door egg fast fish flag fox gold good green hat
high home horse key lamp leaf long low map milk moon new night old pear pen pink plum rain red ring road rock salt
sand sea ship snow star sun tea top tree warm west wind wolf
"""
WORDS = tuple(_WORDS.split())
FIELDS = {
    "f": "[a-z_]+",
    "x": "[a-z]+",
    "y": "[a-z]+",
    "w": "[a-z]+",
    "v": "[a-z]+",
    "cmp": "|".join(SIGNS),
    "case": "|".join(CASES),
    # No problem needs more digits, and a question may come from anywhere.
    "a": "[0-9]{1,3}",
    "b": "[0-9]{1,3}",
    "c": "[0-9]{1,3}",
}
"""What may stand in a sentence's field."""

ARGUMENTS: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {
    ("number",): (("x",), ("num",), ("number",)),
    ("large",): (("n",), ("num",), ("number",)),
    ("small",): (("n",), ("num",), ("number",)),
    ("number", "number"): (("a", "b"), ("x", "y"), ("first", "second")),
    ("text",): (("s",), ("text",), ("word",)),
    ("long text",): (("s",), ("text",), ("line",)),
    ("text", "text"): (("a", "b"), ("s", "t"), ("first", "second")),
    ("numbers",): (("xs",), ("nums",), ("numbers",), ("items",)),
    ("words",): (("words",), ("names",), ("texts",)),
    ("table",): (("d",), ("table",), ("stock",)),
}
"""Names for the arguments, by their kinds."""


def whole_numbers(values: Values) -> Values:
    """The same with < or > in place of <= or >=: "at most 4" is "less than 5"."""
    a = values.get("a")
    if isinstance(a, int) and values.get("cmp") == "at most":
        return {**values, "cmp": "less than", "a": a + 1}
    if isinstance(a, int) and values.get("cmp") == "at least":
        return {**values, "cmp": "greater than", "a": a - 1}
    return values


def either_or(values: Values) -> Values:
    """The same with > only: {w} below a number or else {v} is {v} above the number before it or else {w}."""
    plain = whole_numbers(values)
    a = plain.get("a")
    if isinstance(a, int) and plain["cmp"] == "less than":
        return {"w": plain["v"], "v": plain["w"], "cmp": "greater than", "a": a - 1}
    return plain


@dataclass(frozen=True)
class Form:
    """A variant of a skill.

    `ask` and `code` (its lines below the `def`) are templates: {x} and {y} stand for the arguments, {a} {b} {c}
    for numbers, {w} {v} for words or letters, {cmp} for a comparison ({sign} in code), {case} for upper or lower.
    `kinds` are those of the arguments, as in `ARGUMENTS`; `draw` gives the values of a problem; `reference` takes
    the arguments and then the values by name.
    """

    variant: str
    kinds: tuple[str, ...]
    ask: str
    code: str
    draw: Callable[[Random], Values]
    reference: Callable[..., Any]
    canonical: Callable[[Values], Values] = whole_numbers
    """Values -> the ones that stand for all that ask the same."""
    partial: tuple[Callable[..., Any], ...] = ()
    """Like `reference`, of programs that do a part of it; tests must tell them."""


def neighbours(values: Values) -> Iterator[Values]:
    """The values of the problems that a slip would solve instead: one value changed a little."""
    for name, value in values.items():
        if isinstance(value, int):
            others: list[int | str] = [value - 1, value + 1]
        elif name == "cmp":
            others = [other for other in SIGNS if other != value]
        elif name == "case":
            others = [other for other in CASES if other != value]
        else:
            last = string.ascii_lowercase.index(value[-1])
            others = [value[:-1] + string.ascii_lowercase[(last + 1) % 26]]
        for other in others:
            yield {**values, name: other}


def _letters(rng: Random, low: int, high: int, values: Values) -> str:
    """A made-up word, rich in the letters that its problem is about."""
    mentioned = "".join(str(values.get(name, "")) for name in ("w", "v"))
    pool = "".join(rng.sample(string.ascii_lowercase, 6)) + mentioned
    return "".join(rng.choice(pool) for _ in range(rng.randint(low, high)))


def _number(rng: Random, low: int, high: int, values: Values) -> int:
    """A number of the range, as often one beside a number of its problem: there the slips show."""
    numbers = [value for value in values.values() if isinstance(value, int)]
    if numbers and rng.random() < 0.5:
        return rng.choice(numbers) + rng.randint(-1, 1)
    return rng.randint(low, high)


def _large(rng: Random, values: Values) -> int:
    """A number on either side of where one more division by {a} brings it below {b}."""
    edge = int(values["b"]) * int(values["a"]) ** rng.randint(0, 2)
    return rng.choice((edge - 1, edge, rng.randint(0, 3000)))


def _word(rng: Random, values: Values) -> str:
    made = _letters(rng, 1, 9, values)
    return str(values["w"]) + made[1:] if "w" in values and rng.random() < 0.4 else made


def _text(rng: Random, values: Values, low: int = 2, high: int = 9) -> str:
    made = _letters(rng, low, high, values)
    if "case" in values:  # there is nothing to change in letters that are all small
        return "".join(rng.choice((c, c.upper())) for c in made)
    return made


def _table(rng: Random, values: Values) -> dict[str, int]:
    keys = rng.sample(WORDS, rng.randint(3, 5))
    if "w" in values and rng.random() < 0.6:
        keys[0] = str(values["w"])
    rng.shuffle(keys)
    return {key: _number(rng, 0, 40, values) for key in keys}


_SAMPLES: dict[str, Callable[[Random, Values], Any]] = {
    "number": lambda rng, values: _number(rng, 0, 60, values),
    "small": lambda rng, values: rng.randint(1, 12),
    "large": _large,
    "text": _text,
    "long text": lambda rng, values: _text(rng, values, 5, 30),
    "numbers": lambda rng, values: [_number(rng, 0, 60, values) for _ in range(rng.randint(4, 9))],
    "words": lambda rng, values: [_word(rng, values) for _ in range(rng.randint(3, 6))],
    "table": _table,
}


def sample_argument(kind: str, rng: Random, values: Values) -> Any:
    """A JSON value to call a function of these values with: of a kind in `ARGUMENTS`."""
    return _SAMPLES[kind](rng, values)


def draw(**ranges: tuple[int, int]) -> Callable[[Random], Values]:
    """Draws a number for each field; {w}, {v}, {cmp} and {case} are drawn by `draw_with`."""
    return lambda rng: {name: rng.randint(low, high) for name, (low, high) in ranges.items()}


def draw_with(fields: str, **ranges: tuple[int, int]) -> Callable[[Random], Values]:
    """Draws each of `fields` (words: w v, single letters: W V, a comparison: cmp, a case: case), then numbers."""

    def drawn(rng: Random) -> Values:
        names = fields.split()
        values: Values = {}
        words, letters = rng.sample(WORDS, 2), rng.sample(string.ascii_lowercase, 2)
        for name in names:
            if name in ("cmp", "case"):
                values[name] = rng.choice(list(SIGNS) if name == "cmp" else CASES)
            else:
                values[name.lower()] = words.pop() if name.islower() else letters.pop()
        return values | draw(**ranges)(rng)

    return drawn


def draw_in_order(low: int, high: int) -> Callable[[Random], Values]:
    """Draws two numbers a < b, at least two apart."""

    def drawn(rng: Random) -> Values:
        a = rng.randint(low, high - 2)
        return {"a": a, "b": rng.randint(a + 2, high)}

    return drawn


def draw_both_ends(rng: Random) -> Values:
    """Draws a case, and how many characters are taken off at either end: not all of the longest text."""
    values = draw_with("case", a=(1, 15), b=(1, 15))(rng)
    return {**values, "b": 14} if values["a"] == values["b"] == 15 else values


def draw_remainder(rng: Random) -> Values:
    """Draws a divisor a and a remainder b."""
    a = rng.randint(3, 25)
    return {"a": a, "b": rng.randint(0, a - 1)}


def draw_letter_set(rng: Random) -> Values:
    """Draws two or three letters, in the order of the alphabet."""
    return {"w": "".join(sorted(rng.sample(string.ascii_lowercase, rng.randint(2, 3))))}
