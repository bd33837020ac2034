"""The twelve procedural skills of the embedded `arithmetic` task.

Questions are short (a CPU prefills them) and solutions are the calculations up to the last one, whose result is
the answer: the shortest working that a small student still learns from. Each skill draws from at least 2,000
distinct questions, and a question's text tells its skill.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from dataenvgym.envs.errors import UnknownNameError
from dataenvgym.envs.tasks.procedural import Problem, sentence_pattern

NAMES = ("Ana", "Ben", "Carl", "Dora", "Emma", "Finn", "Gus", "Hana", "Ivan", "Jane", "Kim", "Leo")
THINGS = ("pens", "apples", "books", "coins", "cards", "eggs", "shells", "stones", "balls", "keys")
MASS, LENGTH, VOLUME = "mass", "length", "volume"
UNITS: dict[str, tuple[tuple[str, str, int], ...]] = {
    LENGTH: (("m", "cm", 100), ("km", "m", 1000), ("cm", "mm", 10)),
    MASS: (("kg", "g", 1000), ("t", "kg", 1000)),
    VOLUME: (("l", "ml", 1000), ("l", "cl", 100), ("hl", "l", 100)),
}


@dataclass(frozen=True)
class RawProblem:
    """The numbers and words of a problem before they are put in a sentence."""

    values: dict[str, int | str]
    solution: str
    answer: int


@dataclass(frozen=True)
class Skill:
    """A named skill. `variants` are its sub-kinds; `phrasings` holds the sentences of each, in that order."""

    name: str
    summary: str
    variants: tuple[str, ...]
    phrasings: tuple[tuple[str, ...], ...]
    draw: Callable[[Random, str], RawProblem]

    def generate(self, rng: Random, variant: str | None = None) -> Problem:
        """A problem drawn from `rng`, of `variant` or of any.

        Raises:
            UnknownNameError: the skill has no such variant.
        """
        chosen = rng.choice(self.variants) if variant is None else variant
        if chosen not in self.variants:
            raise UnknownNameError("variant", chosen, self.variants)
        drawn = self.draw(rng, chosen)
        phrasing = rng.choice(self.phrasings[self.variants.index(chosen)])
        question = phrasing.format(**drawn.values)
        key = "/".join(str(value) for name, value in drawn.values.items() if name not in ("name", "thing"))
        return Problem(question, drawn.solution, str(drawn.answer), self.name, chosen, f"{chosen}: {key}")

    def read(self, question: str) -> tuple[str, dict[str, str]] | None:
        """(variant, the words and numbers put in its sentence) of a question that this skill asks, else None.

        White space aside. Where variants share their sentences it is the first of them.
        """
        text = " ".join(question.split())
        for variant, phrasings in zip(self.variants, self.phrasings, strict=True):
            for pattern in _patterns(phrasings):
                if match := pattern.fullmatch(text):
                    return variant, match.groupdict()
        return None


# What may stand in a sentence's field; every other field is a number.
_FIELDS = {
    "name": "|".join(NAMES),
    "thing": "|".join(THINGS),
    "unit": "|".join(sorted({unit for kind in UNITS.values() for unit, _, _ in kind})),
    "target": "|".join(sorted({target for kind in UNITS.values() for _, target, _ in kind})),
    "power": "10|100",
    "terms": r"\d+ [+-] \d+ [+-] \d+",
}


@cache
def _patterns(phrasings: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(sentence_pattern(phrasing, _FIELDS) for phrasing in dict.fromkeys(phrasings))


def _two_numbers(rng: Random, low: int, high: int, wanted: Callable[[int, int], bool]) -> tuple[int, int]:
    """Two numbers of a range that satisfy a condition, by rejection; the condition must not be rare."""
    while True:
        a, b = rng.randint(low, high), rng.randint(low, high)
        if wanted(a, b):
            return a, b


def _minutes(rng: Random, variant: str) -> RawProblem:
    h = rng.randint(2, 5) if variant == "up to five hours" else rng.randint(6, 12)
    m = rng.randint(2, 59)
    return RawProblem({"h": h, "m": m}, f"{h} * 60 = {h * 60}, {h * 60} + {m}", h * 60 + m)


def _rounding(rng: Random, variant: str) -> RawProblem:
    up = variant == "round up"
    digit = rng.randint(5, 9) if up else rng.randint(1, 4)
    a = 10 * rng.randint(1, 99) + digit
    answer = a - digit + (10 if up else 0)
    return RawProblem({"a": a}, f"{a} ends in {digit}, round {'up' if up else 'down'}", answer)


def _groups(rng: Random, variant: str) -> RawProblem:
    a, c = rng.randint(2, 9), rng.randint(2, 9)
    b = rng.randint(2, 5) if variant == "up to five in each" else rng.randint(6, 9)
    values: dict[str, int | str] = {"a": a, "b": b, "c": c, "thing": rng.choice(THINGS)}
    return RawProblem(values, f"{a} * {b} = {a * b}, {a * b} + {c}", a * b + c)


def _number_after(rng: Random, variant: str) -> RawProblem:
    ends_in_nine = variant == "ends in nine"
    a = 10 * rng.randint(1, 999) + (9 if ends_in_nine else rng.randint(0, 8))
    if a == 9999:  # the number after has five digits
        a = 999
    return RawProblem({"a": a}, f"{a} + 1", a + 1)


def _number_before(rng: Random, variant: str) -> RawProblem:
    ends_in_zero = variant == "ends in zero"
    a = 10 * rng.randint(1, 999) + (0 if ends_in_zero else rng.randint(1, 9))
    return RawProblem({"a": a}, f"{a} - 1", a - 1)


def _double(rng: Random, variant: str) -> RawProblem:
    a = rng.randint(10, 199) if variant == "below 200" else rng.randint(200, 499)
    return RawProblem({"a": a}, f"{a} + {a}", 2 * a)


def _carries(a: int, b: int) -> bool:
    return a % 10 + b % 10 > 9 or a // 10 + b // 10 > 9


def _addition(rng: Random, variant: str) -> RawProblem:
    if variant == "two-digit plus one-digit":
        a, b = rng.randint(10, 99), rng.randint(2, 9)
    else:
        a, b = _two_numbers(rng, 10, 99, lambda a, b: _carries(a, b) == (variant == "with carry"))
    return RawProblem({"a": a, "b": b}, f"{a} + {b}", a + b)


def _chain(rng: Random, variant: str) -> RawProblem:
    """Three terms as of reasoning_gym's `chain_sum`; those that fall below zero on the way are drawn again."""
    digits = 1 if variant == "one-digit terms" else 2
    while True:
        terms = chain_sum(rng.getrandbits(31), digits)
        a, op1, b, op2, c = terms.split()
        first = int(a) + int(f"{op1}{b}")
        last = first + int(f"{op2}{c}")
        has_minus = "-" in terms
        if min(first, last) >= 0 and (digits == 1 or has_minus == (variant == "two-digit terms with minus")):
            return RawProblem({"terms": terms}, f"{a} {op1} {b} = {first}, {first} {op2} {c}", last)


def chain_sum(seed: int, digits: int) -> str:
    """The expression of reasoning_gym's `chain_sum` with three terms of so many digits, e.g. `3 + 9 - 4`.

    The same for each seed as the package's, whose import takes two seconds.
    """
    rng = Random(seed)
    rng.randint(3, 3), rng.randint(digits, digits)  # the package draws how many terms and digits
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits - 1
    numbers = [rng.randint(low, high) for _ in range(3)]
    signs = [rng.choice(["+", "-"]) for _ in range(2)]
    return f"{numbers[0]} {signs[0]} {numbers[1]} {signs[1]} {numbers[2]}"


def _linear_equation(rng: Random, variant: str) -> RawProblem:
    if variant == "x times a":
        a, x = rng.randint(2, 12), rng.randint(2, 25)
        return RawProblem({"a": a, "b": a * x}, f"{a * x} / {a}", x)
    a, x = rng.randint(2, 49), rng.randint(2, 49)
    if variant == "x plus a":
        return RawProblem({"a": a, "b": x + a}, f"{x + a} - {a}", x)
    a, x = min(a, x), max(a, x)  # x - a is not below zero
    return RawProblem({"a": a, "b": x - a}, f"{x - a} + {a}", x)


def _unit_conversion(rng: Random, variant: str) -> RawProblem:
    unit, target, factor = rng.choice(UNITS[variant])
    a = rng.randint(2, 150)
    values: dict[str, int | str] = {"a": a, "unit": unit, "target": target}
    return RawProblem(values, f"{a} * {factor}", a * factor)


def _word_problem(rng: Random, variant: str) -> RawProblem:
    values: dict[str, int | str] = {"name": rng.choice(NAMES), "thing": rng.choice(THINGS)}
    a, b, c = rng.randint(5, 60), rng.randint(2, 30), rng.randint(2, 30)
    if variant == "gets more":
        return RawProblem({**values, "a": a, "b": b}, f"{a} + {b}", a + b)
    if variant == "gives away":
        a, b = a + b, b  # more than is given
        return RawProblem({**values, "a": a, "b": b}, f"{a} - {b}", a - b)
    c = min(c, a + b - 1)
    return RawProblem({**values, "a": a, "b": b, "c": c}, f"{a} + {b} = {a + b}, {a + b} - {c}", a + b - c)


_NOT_POWERS = (*range(2, 10), *range(11, 100), *range(101, 1000))
"""Without 10 and 100: "10 times 100" would be of both variants."""


def _times_ten(rng: Random, variant: str) -> RawProblem:
    power = 10 if variant == "times 10" else 100
    a = rng.choice(_NOT_POWERS)
    return RawProblem({"a": a, "power": power}, f"{a} * {power}", a * power)


def _same(count: int, *phrasings: str) -> tuple[tuple[str, ...], ...]:
    """The same sentences for each of `count` variants."""
    return (phrasings,) * count


_ALL = (
    Skill(
        "minutes",
        "hours and minutes into minutes",
        ("up to five hours", "six hours or more"),
        _same(
            2,
            "How many minutes are {h} hours and {m} minutes?",
            "Write {h} hours and {m} minutes in minutes.",
            "A film lasts {h} hours {m} minutes. How many minutes is that?",
            "Convert {h} hours {m} minutes to minutes.",
        ),
        _minutes,
    ),
    Skill(
        "rounding",
        "rounding to the nearest ten",
        ("round down", "round up"),
        _same(
            2,
            "Round {a} to the nearest ten.",
            "What is {a} rounded to the nearest ten?",
            "Write {a} to the nearest ten.",
        ),
        _rounding,
    ),
    Skill(
        "groups",
        "some equal groups and a few more",
        ("up to five in each", "six or more in each"),
        _same(
            2,
            "{a} boxes hold {b} {thing} each, and {c} {thing} are loose. How many {thing}?",
            "There are {a} bags of {b} {thing} and {c} more {thing}. How many {thing}?",
            "How many {thing} are {a} packs of {b} {thing} and {c} single {thing}?",
        ),
        _groups,
    ),
    Skill(
        "number_after",
        "the next whole number",
        ("no carry", "ends in nine"),
        _same(
            2,
            "What number comes right after {a}?",
            "Which number follows {a}?",
            "What is one more than {a}?",
        ),
        _number_after,
    ),
    Skill(
        "number_before",
        "the whole number before",
        ("no borrow", "ends in zero"),
        _same(
            2,
            "What number comes right before {a}?",
            "Which number precedes {a}?",
            "What is one less than {a}?",
        ),
        _number_before,
    ),
    Skill(
        "double",
        "twice a number",
        ("below 200", "200 or more"),
        _same(
            2,
            "What is double {a}?",
            "What is twice {a}?",
            "Double the number {a}.",
            "How much is two times {a}?",
            "Find the double of {a}.",
        ),
        _double,
    ),
    Skill(
        "addition",
        "the sum of two numbers below 100",
        ("no carry", "with carry", "two-digit plus one-digit"),
        _same(3, "What is {a} + {b}?", "Add {a} and {b}.", "What is the sum of {a} and {b}?"),
        _addition,
    ),
    Skill(
        "chain",
        "three terms with plus and minus",
        ("one-digit terms", "two-digit terms with plus", "two-digit terms with minus"),
        _same(3, "What is {terms}?", "Calculate {terms}.", "Work out {terms}."),
        _chain,
    ),
    Skill(
        "linear_equation",
        "an equation with one unknown and one step",
        ("x plus a", "x minus a", "x times a"),
        (
            ("Solve x + {a} = {b}.", "If x + {a} = {b}, what is x?", "Find x when x + {a} = {b}."),
            ("Solve x - {a} = {b}.", "If x - {a} = {b}, what is x?", "Find x when x - {a} = {b}."),
            ("Solve {a}x = {b}.", "If {a}x = {b}, what is x?", "Find x when {a}x = {b}."),
        ),
        _linear_equation,
    ),
    Skill(
        "unit_conversion",
        "a larger metric unit into a smaller",
        (LENGTH, MASS, VOLUME),
        _same(
            3,
            "Convert {a} {unit} to {target}.",
            "How many {target} are {a} {unit}?",
            "Write {a} {unit} in {target}.",
        ),
        _unit_conversion,
    ),
    Skill(
        "word_problem",
        "a story of getting and giving",
        ("gets more", "gives away", "gets and gives"),
        (
            (
                "{name} has {a} {thing} and buys {b} more. How many {thing} now?",
                "{name} had {a} {thing} and found {b} more. How many {thing} in all?",
            ),
            (
                "{name} has {a} {thing} and gives away {b}. How many {thing} are left?",
                "{name} had {a} {thing} and lost {b}. How many {thing} remain?",
            ),
            (
                "{name} has {a} {thing}, buys {b} and gives away {c}. How many {thing} now?",
                "{name} had {a} {thing}, found {b} and lost {c}. How many {thing} are left?",
            ),
        ),
        _word_problem,
    ),
    Skill(
        "times_ten",
        "ten or a hundred times a number",
        ("times 10", "times 100"),
        _same(2, "What is {a} times {power}?", "Multiply {a} by {power}.", "What is {power} times {a}?"),
        _times_ten,
    ),
)

SKILLS: dict[str, Skill] = {skill.name: skill for skill in _ALL}
"""By name, in a fixed order."""

SCHOOLED: tuple[str, ...] = ("minutes", "rounding", "groups", "number_after", "number_before", "double")
"""The skills that the embedded default student was taught before the first iteration."""


def problem(skill: str, seed: int, index: int, variant: str | None = None) -> Problem:
    """Problem number `index` of a skill: a pure function of its arguments.

    Raises:
        UnknownNameError: no such skill, or the skill has no such variant.
    """
    if skill not in SKILLS:
        raise UnknownNameError("skill", skill, SKILLS)
    # Seeding by a string is defined by its sha512: the same in every process and Python version.
    return SKILLS[skill].generate(Random(f"{skill}/{variant}/{seed}/{index}"), variant)


def recognise(question: str) -> str | None:
    """The skill that asks a question, told from its text; None for text that no skill writes."""
    return next((name for name, skill in SKILLS.items() if skill.read(question)), None)


def identity(question: str) -> str | None:
    """The problem that a question asks, in any phrasing: its skill, and the same numbers in the same roles.

    Names and things do not matter. None for text that no skill writes.
    """
    for name, skill in SKILLS.items():
        if read := skill.read(question):
            variant, values = read
            return f"{name}: {variant}: {_key(values)}"
    return None


def _key(values: Mapping[str, int | str]) -> str:
    return "/".join(f"{name}={values[name]}" for name in sorted(values) if name not in ("name", "thing"))
