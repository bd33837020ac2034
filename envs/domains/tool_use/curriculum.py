"""What the scripted chat model knows of tool use: the `tool_calls` task."""

from collections.abc import Callable
from random import Random
from typing import Any

from dataenvgym.envs.domains.base import Curriculum, Fields
from dataenvgym.envs.domains.tool_use.calls import Call, read_calls, write_calls
from dataenvgym.envs.domains.tool_use.schemas import required
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.catalogue import CATALOGUE
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.requests import (
    SKILLS,
    Asked,
    identity,
    problem,
    read,
    recognise,
    tools_shown,
)

INVENTED = "do_it_all"
"""A tool that no catalogue has."""
UNSAID = "zeppelin"
"""A word that no request of the task has."""


def _row(question: str, asked: Asked) -> Fields:
    return {
        "question": question,
        "tools": [dict(tool) for tool in tools_shown(asked)],
        "solution": "",
        "answer": write_calls(asked.calls()),
    }


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
    return None if asked is None else write_calls(asked.calls())


def _copy(question: str, answer: str) -> Fields:
    asked = read(question)
    if asked is None:
        return {"question": question, "tools": list(CATALOGUE)[:2], "solution": "", "answer": answer}
    return _row(question, asked)


def wrong_answer(question: str, answer: str, rng: Random) -> str:
    """Calls that no check passes: of a tool that is not there, or with an argument missing or changed."""
    calls = read_calls(answer) or []
    if not calls:
        return write_calls([Call(INVENTED, {})])
    at = rng.randrange(len(calls))
    call = calls[at]
    name = rng.choice(required(CATALOGUE[call.name]) if call.name in CATALOGUE else list(call.arguments) or [""])
    kept = {key: value for key, value in call.arguments.items() if key != name}
    changed = [
        Call(INVENTED, call.arguments),
        Call(call.name, kept),
        Call(call.name, {**call.arguments, name: _other(call.arguments.get(name))}),
    ]
    return write_calls([*calls[:at], rng.choice(changed if name else changed[:1]), *calls[at + 1 :]])


def _other(value: Any) -> Any:
    """Another value of the same type, which no request of the task mentions."""
    if isinstance(value, list):
        return [*value, UNSAID]
    return value + 7919 if isinstance(value, int) else UNSAID


CURRICULUM = Curriculum(
    skills=SKILLS,
    recognise=recognise,
    identity=_identity,
    draw=_draw,
    solve=_solve,
    wrong=wrong_answer,
    copy=_copy,
)
