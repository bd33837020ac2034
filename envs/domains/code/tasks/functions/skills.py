"""The procedural skills of the embedded `functions` task: small Python functions, with tests.

A problem is a form with its values: "the numbers of {x} {cmp} {a}" with cmp "greater than" and a 7. The names of
the function and of its arguments vary and are no part of what makes two problems the same. The tests of a
problem are chosen so that they tell it from each of its neighbours (a number one higher or lower, another
comparison, another letter) and from programs that do nothing.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, NamedTuple

from dataenvgym.envs.domains.code.tasks.functions.data import FORMS
from dataenvgym.envs.domains.code.tasks.functions.forms import (
    ARGUMENTS,
    EQUAL,
    FIELDS,
    SIGNS,
    Form,
    Values,
    neighbours,
    sample_argument,
)
from dataenvgym.envs.errors import UnknownNameError
from dataenvgym.envs.tasks.procedural import Problem, sentence_pattern

OPENINGS = (
    "Write a function {f}({args}) that returns {ask}.",
    "Write {f}({args}), a function that returns {ask}.",
    "Define a function {f}({args}) that returns {ask}.",
)
FEWEST_TESTS, MOST_TESTS = 3, 6
_POOL, _POOLS = 24, 40
"""Calls drawn at a time, of which the tests are chosen, and how often that is tried."""

Test = dict[str, str]
"""`input`: one JSON value a line, one line an argument. `output`: one JSON value."""


class FunctionSpec(NamedTuple):
    """What a question says: which form, its values, and the names it wants."""

    skill: str
    form: Form
    values: Values
    function: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Skill:
    """A named skill; its forms are its variants."""

    name: str
    summary: str
    functions: tuple[str, ...]
    """Names for its functions."""
    forms: tuple[Form, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of its forms."""
        return tuple(form.variant for form in self.forms)

    def generate(self, rng: Random, variant: str | None = None) -> Problem:
        """A problem drawn from `rng`, of `variant` or of any; `answer` is its gold code.

        Raises:
            UnknownNameError: the skill has no such variant.
        """
        chosen = rng.choice(self.variants) if variant is None else variant
        if chosen not in self.variants:
            raise UnknownNameError("variant", chosen, self.variants)
        form = self.forms[self.variants.index(chosen)]
        values = form.draw(rng)
        arguments = rng.choice(ARGUMENTS[form.kinds])
        asked = FunctionSpec(self.name, form, values, rng.choice(self.functions), arguments)
        return Problem(question(asked, rng.choice(OPENINGS)), "", code(asked), self.name, chosen, key(asked))

    def read(self, text: str) -> FunctionSpec | None:
        """What a question of this skill says; None for any other text. White space aside."""
        plain = " ".join(text.split())
        for form in self.forms:
            for pattern in _patterns(form.ask, len(form.kinds)):
                if match := pattern.fullmatch(plain):
                    found = match.groupdict()
                    function = found.pop("f")
                    names = tuple(found.pop(name) for name in ("x", "y") if name in found)
                    values: Values = {k: int(v) if v.isdecimal() else v for k, v in found.items()}
                    return FunctionSpec(self.name, form, values, function, names)
        return None


@cache
def _patterns(ask: str, arguments: int) -> tuple[re.Pattern[str], ...]:
    names = ", ".join(("{x}", "{y}")[:arguments])
    sentences = (opening.replace("{args}", names).replace("{ask}", ask) for opening in OPENINGS)
    return tuple(sentence_pattern(sentence, FIELDS) for sentence in sentences)


def _filled(template: str, asked: FunctionSpec) -> str:
    names = dict(zip(("x", "y"), asked.arguments, strict=False))
    sign = SIGNS.get(str(asked.values.get("cmp")), "")
    return template.format(**names, **asked.values, sign=sign)


def question(asked: FunctionSpec, opening: str = OPENINGS[0]) -> str:
    """The problem in words, with the names of the function and its arguments."""
    return opening.format(f=asked.function, args=", ".join(asked.arguments), ask=_filled(asked.form.ask, asked))


def starter(asked: FunctionSpec) -> str:
    """The function's first line."""
    return f"def {asked.function}({', '.join(asked.arguments)}):"


def code(asked: FunctionSpec) -> str:
    """The gold program."""
    body = _filled(asked.form.code, asked)
    return "\n".join([starter(asked), *(f"    {line}" for line in body.split("\n"))])


def other_code(asked: FunctionSpec) -> str:
    """The same function, written in another way: the result has a name before it is returned."""
    head, _, last = code(asked).rpartition("return ")
    return f"{head}result = {last}\n    return result"


def key(asked: FunctionSpec) -> str:
    """The thing computed: the form and its values, whatever the names and the wording of a comparison."""
    values = asked.form.canonical(asked.values)
    return f"{asked.form.variant}: " + "/".join(str(values[name]) for name in sorted(values))


def identity(question: str) -> str | None:
    """The problem that a question asks, in any phrasing and under any names; None for one of another form."""
    asked = read(question)
    return None if asked is None else f"{asked.skill}: {key(asked)}"


def make_tests(asked: FunctionSpec) -> list[Test]:
    """Three to six tests that the gold program passes, and no program of a neighbouring problem or of a part.

    Programs that return nothing, an argument or always the same fail them too. The names make no difference.
    """
    rng = Random(f"tests/{asked.skill}/{key(asked)}")
    kinds, form = asked.form.kinds, asked.form
    others = [(form.reference, values) for values in neighbours(asked.values)]
    others += [(form.reference, {**asked.values, "cmp": EQUAL})] if "cmp" in asked.values else []
    others += [(part, asked.values) for part in form.partial]
    for _ in range(_POOLS):
        drawn = ([sample_argument(kind, rng, asked.values) for kind in kinds] for _ in range(_POOL))
        cases = [case for arguments in drawn if (case := _case(asked, arguments, others))]
        chosen = _choose(cases, len(kinds) + len(others))
        if chosen is not None:
            return [
                {"input": "\n".join(json.dumps(value) for value in case.arguments), "output": case.result}
                for case in chosen
            ]
    raise RuntimeError(f"no {MOST_TESTS} tests tell {key(asked)!r} from its neighbours")


def program_fields(asked: FunctionSpec) -> dict[str, Any]:
    """What a problem has besides its question and its answer: the `starter` code and the `tests`."""
    return {"starter": starter(asked), "tests": make_tests(asked)}


def slips(asked: FunctionSpec) -> list[FunctionSpec]:
    """The neighbouring problems, under the same names: the gold program of each fails this problem's tests."""
    return [asked._replace(values=values) for values in neighbours(asked.values)]


class _Case(NamedTuple):
    """A call, its result as JSON, and which wrong programs it tells: numbers in a fixed order."""

    arguments: list[Any]
    result: str
    told: frozenset[int]


Reference = tuple[Callable[..., Any], Values]


def _case(asked: FunctionSpec, arguments: list[Any], others: Sequence[Reference]) -> _Case | None:
    """None where the function itself would raise. The wrong programs: echoes of each argument, then the others."""
    result = _run(asked.form.reference, asked.values, arguments)
    if result is None:
        return None
    wrong = [json.dumps(value) for value in arguments]
    wrong_results = [*wrong, *(_run(*other, arguments) for other in others)]
    return _Case(arguments, result, frozenset(i for i, other in enumerate(wrong_results) if other != result))


def _run(reference: Callable[..., Any], values: Values, arguments: Sequence[Any]) -> str | None:
    try:
        return json.dumps(reference(*arguments, **values))
    except (ArithmeticError, LookupError, ValueError):
        return None


def _choose(cases: Sequence[_Case], wrong: int) -> list[_Case] | None:
    """Few cases that tell all wrong programs, and constants; None if these cannot, or not with so few."""
    left = set(range(wrong))
    chosen: list[_Case] = []
    results: set[str] = set()
    while left or len(chosen) < FEWEST_TESTS or len(results) < 2:
        # Of those that tell as much, one with a new result: a test that repeats another adds little.
        best = max(
            (case for case in cases if case not in chosen),
            key=lambda case: (len(case.told & left), case.result not in results),
            default=None,
        )
        if best is None or len(chosen) == MOST_TESTS:
            return None
        left -= best.told
        chosen.append(best)
        results.add(best.result)
    return chosen


SKILLS: dict[str, Skill] = {
    name: Skill(name, summary, functions, forms) for name, summary, functions, forms in FORMS
}
"""By name, in a fixed order."""


def problem(skill: str, seed: int, index: int, variant: str | None = None) -> Problem:
    """Problem number `index` of a skill: a pure function of its arguments.

    Raises:
        UnknownNameError: no such skill, or the skill has no such variant.
    """
    if skill not in SKILLS:
        raise UnknownNameError("skill", skill, SKILLS)
    # Seeding by a string is defined by its sha512: the same in every process and Python version.
    return SKILLS[skill].generate(Random(f"functions/{skill}/{variant}/{seed}/{index}"), variant)


def read(text: str) -> FunctionSpec | None:
    """What a question of the task says; None for text that no skill writes."""
    if not re.match(r"\s*(Write|Define) ", text):
        return None
    return next((asked for skill in SKILLS.values() if (asked := skill.read(text))), None)


def recognise(text: str) -> str | None:
    """The skill that asks a question, told from its text; None for text that no skill writes."""
    asked = read(text)
    return None if asked is None else asked.skill
