"""What the scripted chat model knows of programming: the `functions` task."""

from collections.abc import Callable
from random import Random

from dataenvgym.envs.domains.base import Curriculum, Fields
from dataenvgym.envs.domains.code.tasks.functions.skills import (
    SKILLS,
    FunctionSpec,
    code,
    identity,
    other_code,
    problem,
    program_fields,
    read,
    recognise,
    slips,
)


def _row(question: str, asked: FunctionSpec) -> Fields:
    return {"question": question, **program_fields(asked), "solution": "", "answer": code(asked)}


def _draw(skill: str, seed: int, index: int, variant: str | None) -> tuple[str, Callable[[], Fields]]:
    question = problem(skill, seed, index, variant).question
    asked = read(question)
    if asked is None:
        raise RuntimeError(f"no skill reads its own question {question!r}")
    return question, lambda: _row(question, asked)


def _identity(question: str) -> str:
    return identity(question) or question


def _solve(question: str) -> str | None:
    asked = read(question)
    return None if asked is None else other_code(asked)


def _wrong(question: str, answer: str, rng: Random) -> str:
    asked = read(question)
    if asked is None:
        return answer.replace("return ", "return not ")
    return code(rng.choice(slips(asked)))


def _copy(question: str, answer: str) -> Fields:
    asked = read(question)
    if asked is None:
        return {"question": question, "starter": "", "tests": [], "solution": "", "answer": answer}
    return _row(question, asked)


CURRICULUM = Curriculum(
    skills=SKILLS,
    recognise=recognise,
    identity=_identity,
    draw=_draw,
    solve=_solve,
    wrong=_wrong,
    copy=_copy,
)
