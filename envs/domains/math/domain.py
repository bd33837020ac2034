"""The math domain: a problem in words, working, and a last line `Answer: X`."""

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from dataenvgym.envs.domains.base import DOMAINS, Domain, DomainSpec
from dataenvgym.envs.domains.math.scoring.answers import equal, extract_answer
from dataenvgym.envs.scorers import scorer

INSTRUCTION = "Solve. End with 'Answer: X'."
_MARKED_LINE = re.compile(r"\n[ \t*]*(?:final )?answer[ \t*]*:[^\n]*$", re.IGNORECASE)


def render_answer(solution: str, answer: str) -> str:
    """The completion a student learns to write: the working, then `Answer: X` on one line."""
    line = f"Answer: {' '.join(answer.split())}"
    return f"{solution.rstrip()}\n{line}" if solution.strip() else line


def _number_as_text(value: Any) -> Any:
    """A JSON number where text is expected; models write `5` as often as `"5"`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        raise ValueError("the answer must be a finite number or text")
    return str(value)


def _text(longest: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest)


class MathRow(BaseModel):
    """One training row as the teacher's model writes it. The descriptions are part of what it is shown."""

    model_config = ConfigDict(extra="ignore")

    question: Annotated[str, _text(4_000)] = Field(
        description="The full problem statement, with everything needed to solve it and one definite answer."
    )
    solution: Annotated[str, _text(8_000)] = Field(
        description="The working, step by step, in plain text or LaTeX, WITHOUT the final 'Answer:' line."
    )
    answer: Annotated[str, _text(500), BeforeValidator(_number_as_text)] = Field(
        description="Just the final answer, e.g. 42, 3/4 or \\frac{\\sqrt{2}}{2}: no words around it."
    )

    @field_validator("solution")
    @classmethod
    def _without_marked_line(cls, solution: str) -> str:
        # Asked not to, models still end with it; trained on, it would stand there twice.
        return _MARKED_LINE.sub("", solution).rstrip() or solution


MATH = Domain(
    name="math",
    instruction=INSTRUCTION,
    render_answer=render_answer,
    extract=extract_answer,
    equal=equal,
    row_model=MathRow,
)
scorer("math", "equal as mathematics: numbers, fractions, expressions, sets")(
    lambda item, answer: equal(item.answer, answer)
)
DOMAINS["math"] = DomainSpec(
    name="math",
    summary="problems in words, with a number or an expression as the answer",
    package="dataenvgym.envs.domains.math",
    row_model=MathRow,
    instruction=INSTRUCTION,
)
