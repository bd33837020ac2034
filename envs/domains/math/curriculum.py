"""What the scripted chat model knows of mathematics: the `arithmetic` task.

It solves a problem from the text of its question alone.
"""

import re
from collections.abc import Callable
from random import Random

from dataenvgym.envs.domains.base import Curriculum, Fields
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, UNITS, problem, recognise

_FACTORS = {(unit, target): factor for kind in UNITS.values() for unit, target, factor in kind}


def _chain(terms: str) -> int:
    a, *rest = re.findall(r"[+-]?\d+", terms.replace(" ", ""))
    return int(a) + sum(map(int, rest))


def _equation(variant: str, a: int, b: int) -> int:
    return {"x plus a": b - a, "x minus a": b + a, "x times a": b // a}[variant]


# Skill -> (variant, numbers by name, words by name) -> answer.
_ANSWERS: dict[str, Callable[[str, dict[str, int], dict[str, str]], int]] = {
    "minutes": lambda _, n, w: n["h"] * 60 + n["m"],
    "rounding": lambda _, n, w: (n["a"] + 5) // 10 * 10,
    "groups": lambda _, n, w: n["a"] * n["b"] + n["c"],
    "number_after": lambda _, n, w: n["a"] + 1,
    "number_before": lambda _, n, w: n["a"] - 1,
    "double": lambda _, n, w: 2 * n["a"],
    "addition": lambda _, n, w: n["a"] + n["b"],
    "chain": lambda _, n, w: _chain(w["terms"]),
    "linear_equation": lambda variant, n, w: _equation(variant, n["a"], n["b"]),
    "unit_conversion": lambda _, n, w: n["a"] * _FACTORS[w["unit"], w["target"]],
    "word_problem": lambda variant, n, w: n["a"] + (-1 if variant == "gives away" else 1) * n["b"] - n.get("c", 0),
    "times_ten": lambda _, n, w: n["a"] * n["power"],
}


def solve(question: str) -> int | None:
    """The answer to a question of the task; None for any other text."""
    for name, skill in SKILLS.items():
        read = skill.read(question)
        if read is not None:
            variant, values = read
            numbers = {key: int(value) for key, value in values.items() if value.isdecimal()}
            return _ANSWERS[name](variant, numbers, values)
    return None


def _draw(skill: str, seed: int, index: int, variant: str | None) -> tuple[str, Callable[[], Fields]]:
    drawn = problem(skill, seed, index, variant)
    row = {"question": drawn.question, "solution": drawn.solution, "answer": drawn.answer}
    return drawn.question, lambda: row


def _solve(question: str) -> str | None:
    answer = solve(question)
    return None if answer is None else str(answer)


def wrong_answer(question: str, answer: str, rng: Random) -> str:
    """Another answer than the given one."""
    if re.fullmatch(r"-?\d+", answer):
        return str(int(answer) + rng.randint(1, 9))
    return f"{answer} + {rng.randint(1, 9)}"


CURRICULUM = Curriculum(
    skills=SKILLS,
    recognise=recognise,
    identity=lambda question: question,
    draw=_draw,
    solve=_solve,
    wrong=wrong_answer,
    copy=lambda question, answer: {"question": question, "solution": answer, "answer": answer},
)
