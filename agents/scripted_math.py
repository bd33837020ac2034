"""What the scripted chat model knows of mathematics: the `arithmetic` task."""

import re
from collections.abc import Callable
from random import Random

from dataenvgym.agents.scripted_curriculum import Curriculum, Item
from dataenvgym.agents.scripted_solver import solve
from dataenvgym.envs.tasks.arithmetic_skills import SKILLS, problem, recognise


def _draw(skill: str, seed: int, index: int, variant: str | None) -> tuple[str, Callable[[], Item]]:
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


MATH = Curriculum(
    skills=SKILLS,
    recognise=recognise,
    identity=lambda question: question,
    draw=_draw,
    solve=_solve,
    wrong=wrong_answer,
    copy=lambda question, answer: {"question": question, "solution": answer, "answer": answer},
)
