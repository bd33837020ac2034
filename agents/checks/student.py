"""`student`: check whether the student already answers the row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dataenvgym.agents.checks.base import CheckContext, failed
from dataenvgym.agents.checks.registry import check
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import Row, Verdict


@check("student", "student", "marks or drops what the student answers already")
async def check_student(rows: Sequence[Row], context: CheckContext) -> list[Verdict]:
    """Check whether the current student already answers the row (greedy, in its own prompt, scored as on val).

    The row is marked (`extra["known"]`); with `student_known: drop` a known row fails.
    """
    if context.student is None:
        raise ConfigError("the check 'student' needs a student, and there is none")
    examples = [context.domain.example(row) for row in rows]
    texts = await context.student([e.prompt for e in examples])
    scored = await asyncio.to_thread(context.domain.score, rows, texts)
    verdicts = []
    for text, found in zip(texts, scored, strict=True):
        known = found.correct
        if known and context.config.student_known == "drop":
            verdicts.append(failed("student", f"the student answers it already: {text[-80:]!r}"))
        else:
            verdicts.append(Verdict(check="student", passed=True, marks={"known": known}))
    return verdicts
