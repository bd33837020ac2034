"""The options of the task `custom`: which columns, how to ask, how to judge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dataenvgym.envs.domains.text.columns import COLUMNS, template
from dataenvgym.envs.domains.text.scoring.kinds import KINDS, THRESHOLD, Settings
from dataenvgym.envs.domains.text.scoring.numbers import Tolerance
from dataenvgym.envs.loading import is_file


class CustomOptions(BaseModel):
    """What `task.options` of the task `custom` may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str | None = Field(
        None,
        description="Column of the question: a name, a dotted path (`data.text`, `turns.0`), or a Jinja template "
        "over the columns (`{{ title }}: {{ body }}`), as for all columns here. null: by its usual names; an "
        "empty text: none.",
    )
    answer: str | None = Field(None, description="Column of the right answer. null: found by its usual names.")
    solution: str | None = Field(None, description="Column of the worked answer. null: found by its usual names.")
    skill: str | None = Field(None, description="Column of the skill. null: found by its usual names.")
    choices: str | list[str] | None = Field(
        None,
        description="Multiple choice: the column that holds the options (a list), or a list of columns with an "
        "option each. null: found by its usual names.",
    )
    split: str | None = Field(
        None,
        description="Column that says train, val or test. null: found by its usual names, else drawn by seed.",
    )
    id: str | None = Field(
        None, description="Column of a name for each row. null: its number, e.g. custom/all/00007."
    )
    instruction: str | None = Field(
        None, description="What the student reads before each question. null: the scorer's own, e.g. which labels."
    )
    mark: str | None = Field(
        None,
        description="What stands before the answer in the student's text; an empty text: the answer stands alone. "
        "null: `Answer:`, or nothing where your own instruction does not name it.",
    )
    scorer: str | None = Field(
        None,
        description="How answers are judged: text, number, choice, label, contains, regex, json, f1, exact, math, "
        "another of `dataenvgym list scorers`, or `file.py:function` of your own (item, answer) -> bool. null: by "
        "what the answers are.",
    )
    labels: list[str] | None = Field(
        None, min_length=1, description="label: the closed set. null: those in the data."
    )
    tolerance: float | str | None = Field(
        None, description="number: how far it may be from the right one, e.g. 0.01, or `1%` of it. null: 0."
    )
    fields: list[str] | None = Field(
        None,
        min_length=1,
        description="json: the fields that must agree (dotted paths). null: all of the right one's.",
    )
    threshold: float | None = Field(
        None, gt=0, le=1, description=f"f1: from which F1 of the words an answer is right. null: {THRESHOLD:g}."
    )
    pattern: str | None = Field(
        None, description="regex: what it finds in both answers must be the same (its first group, if it has one)."
    )
    on_bad: Literal["error", "skip"] = Field(
        "error", description="A row that cannot be used is an error, or is left out and counted."
    )

    @field_validator(*COLUMNS)
    @classmethod
    def _is_a_template(cls, value: str | list[str] | None) -> str | list[str] | None:
        for one in [value] if isinstance(value, str) else value or []:
            template(one)
        return value

    @field_validator("scorer")
    @classmethod
    def _from_any_folder(cls, value: str | None) -> str | None:
        where, colon, name = (value or "").rpartition(":")
        return f"{Path(where).expanduser().absolute()}:{name}" if colon and is_file(where) else value

    @field_validator("tolerance")
    @classmethod
    def _is_a_tolerance(cls, value: float | str | None) -> float | str | None:
        try:
            Tolerance(0 if value is None else value)
        except ValueError as error:
            raise ValueError("expected a number from 0 on such as 0.01, or a share such as 1%") from error
        return value

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return value

    def settings(self) -> Settings:
        """What the scorers are told."""
        return Settings(
            labels=tuple(self.labels or ()),
            tolerance=Tolerance(0 if self.tolerance is None else self.tolerance),
            fields=tuple(self.fields or ()),
            threshold=THRESHOLD if self.threshold is None else self.threshold,
            pattern=None if self.pattern is None else re.compile(self.pattern),
        )

    def set_but_unread(self, scorer: str) -> list[str]:
        """The settings that are given and that this scorer does not read."""
        read = KINDS[scorer].settings if scorer in KINDS else ()
        known = sorted({name for kind in KINDS.values() for name in kind.settings})
        return [name for name in known if getattr(self, name) is not None and name not in read]
