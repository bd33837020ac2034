"""The text domain: a question in words, and an answer after a mark, `Answer: X`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from dataenvgym.envs.domains.base import DOMAINS, Domain, DomainSpec
from dataenvgym.envs.domains.text.scoring.kinds import KINDS, Kind, Settings
from dataenvgym.envs.scorers import Scorer, scorer
from dataenvgym.envs.types import Instance, Progress, Row

MARK = "Answer:"
_MARK_FIRST = re.compile(r"^\s*answer:\s*(?=\S)", re.IGNORECASE)
_MARKED_LINE = re.compile(r"\n[ \t*]*(?:final )?answer[ \t*]*:[^\n]*$", re.IGNORECASE)
LONGEST_READ = 50_000
"""Characters at the end of a text in which an answer is looked for."""


def instruction(ask: str, mark: str = MARK) -> str:
    """What an answer must look like: what it is, and the mark it stands behind."""
    return f"{ask} End with '{mark} X'." if mark else ask


def render_answer(solution: str, answer: str, *, mark: str = MARK, lines: bool = False) -> str:
    """The completion a student learns to write: the working, then the marked answer, on one line unless `lines`.

    Without a mark the answer stands alone, since nothing would tell it from the working.
    """
    line = answer.strip() if lines else " ".join(answer.split())
    if not mark:
        return line
    return f"{solution.rstrip()}\n{mark} {line}" if solution.strip() else f"{mark} {line}"


def extract(text: str, *, mark: str = MARK, lines: bool = False) -> str | None:
    """The answer in a text: what follows the last mark, up to the end of its line (`lines`: of the text).

    The mark is found in any case and between asterisks. A text of one line without it is the answer itself, and so
    is any text where there is no mark. None where that is empty.
    """
    text = text[-LONGEST_READ:].strip()
    if mark:
        pattern = r"[\s*_]+".join(re.escape(word) for word in mark.rstrip(": ").split()) + r"[*_ ]*:[*_]*"
        found = list(re.finditer(pattern if mark.rstrip().endswith(":") else re.escape(mark), text, re.IGNORECASE))
        if found:
            text = text[found[-1].end() :].strip()
        elif "\n" in text:
            return None
    answer = text if lines else next((line.strip() for line in text.split("\n") if line.strip()), "")
    return answer or None


def _as_text(value: Any) -> Any:
    """An answer that a model wrote as JSON where text is expected, or behind the mark that is added later."""
    if isinstance(value, str):
        return _MARK_FIRST.sub("", value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | dict):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return value


def _text(longest: int, least: int = 1) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=least, max_length=longest)


class TextRow(BaseModel):
    """One training row as the teacher's model writes it. The descriptions are part of what it is shown."""

    model_config = ConfigDict(extra="ignore")

    question: Annotated[str, _text(20_000)] = Field(
        description="The full question in the form of those shown, with everything that is needed to answer it; "
        "options, where they have any, stand in it."
    )
    solution: Annotated[str, _text(8_000, 0)] = Field(
        "", description="How the answer is found, in the style of the solutions shown; empty where they have none."
    )
    answer: Annotated[str, _text(4_000), BeforeValidator(_as_text)] = Field(
        description="Just the answer, in the form of those shown: no words around it and no mark before it."
    )

    @field_validator("solution")
    @classmethod
    def _without_marked_line(cls, solution: str) -> str:
        return _MARKED_LINE.sub("", f"\n{solution}").strip()


TEXT = Domain(
    name="text",
    instruction=instruction("Answer."),
    render_answer=render_answer,
    extract=extract,
    equal=lambda gold, other: KINDS["text"].same(Settings(), "", gold, other),
    row_model=TextRow,
)


def scorer_of(kind: Kind, settings: Settings) -> Scorer:
    """The scorer that a kind and its settings make."""

    def score(item: Instance | Row, answer: str) -> bool:
        return kind.same(settings, item.question, item.answer, answer)

    return Scorer(kind.name, kind.summary, score)


def domain_for(
    scorer: Scorer, kind: Kind | None, settings: Settings, *, asks: str | None = None, mark: str = MARK
) -> Domain:
    """The text domain with a way to judge answers.

    `kind`: None for a scorer from elsewhere. `asks`: the whole instruction; None: the kind's own with the mark.
    """
    ask = instruction(kind.ask(settings) if kind else "Answer.", mark) if asks is None else asks
    made = replace(
        TEXT,
        instruction=ask,
        render_answer=partial(render_answer, mark=mark),
        extract=partial(extract, mark=mark, lines=kind is None or kind.lines),
        vet=None if kind is None else partial(_vet, kind, settings),
    )
    return made.scored_by(scorer)


def _vet(kind: Kind, settings: Settings, rows: Sequence[Row], progress: Progress | None) -> list[str]:
    return [kind.fault(settings, row.question, row.answer) for row in rows]


for _kind in KINDS.values():
    if _kind.name not in ("label", "regex"):  # which mean nothing without their settings
        scorer(_kind.name, _kind.summary)(scorer_of(_kind, Settings()).score)
DOMAINS["text"] = DomainSpec(
    name="text",
    summary="questions of any kind, with an answer that a scorer of your choice judges",
    package="dataenvgym.envs.domains.text",
    row_model=TextRow,
    instruction=TEXT.instruction,
)
