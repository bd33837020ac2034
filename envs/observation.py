"""The observation that the teacher sees, and the skill forest computed from the run's plans and rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from dataenvgym.envs.types import Frozen, Instance, Plan, Prediction, Row


class CurvePoint(Frozen):
    """One evaluation on the validation split."""

    iteration: int
    rows: int = Field(description="Training rows so far.")
    accuracy: float
    n: int


class SubskillState(Frozen):
    """A leaf of the forest (paper, section 2.1)."""

    name: str
    allocation: int = Field(description="Rows allocated to it by the plans so far.")
    rows: int = Field(description="Accepted rows so far.")
    accuracy: float | None = Field(
        None,
        description="Share of its rows that the student answers rightly now, after training, by the task's "
        "scorer; null where it has not answered any.",
    )
    n: int = Field(0, description="Rows that the accuracy is computed from, a sample of `subskill_rows` at most.")
    known_before: float | None = Field(
        None,
        description="Share of its rows that the student that training starts from would have written word for "
        "word; null before any training, or where the trainer does not report it.",
    )


class SkillState(Frozen):
    """A skill: its validation accuracy, the rows so far, and its subskills in the skill tree."""

    name: str
    accuracy: float | None = None
    n: int = 0
    rows: int = 0
    reward: float | None = Field(None, description="Change of accuracy over the last iteration.")
    rewards: list[float] = Field(default_factory=list, description="The reward history.")
    subskills: list[SubskillState] = Field(default_factory=list)


class Observation(Frozen):
    """Everything that a teacher may know. With `state` false it has no predictions and no accuracies."""

    task: str
    domain: str
    structure: str
    state: bool
    start: Literal["base", "last"] = Field(
        "base",
        description="What each training starts from: the base with all rows so far, or the last student with the "
        "rows of its iteration (`student.train.start`).",
    )
    iteration: int
    budget: int = Field(description="Rows the teacher may have accepted in this iteration.")
    accuracy: float | None = None
    n: int = 0
    reward: float | None = None
    history: list[CurvePoint] = Field(default_factory=list)
    predictions: list[Prediction] = Field(default_factory=list, description="Evaluated val instances.")
    skills: list[SkillState] = Field(default_factory=list)
    exemplars: list[Instance] = Field(description="Train instances; never from val or test.")


class Lesson(Frozen):
    """The plan and the rows of one iteration, from which the forest is computed.

    `known`: by row id, whether the student that training starts from would have written it word for word.
    """

    plan: Plan
    rows: list[Row]
    known: dict[str, bool] = Field(default_factory=dict)


def leaf_rows(lessons: Sequence[Lesson], most: int, seed: int) -> list[Row]:
    """Draw at most `most` rows of each subskill, to be answered by the student.

    The draw is by a hash of seed and row id, so that most rows stay in the sample while rows are added.
    """
    leaves: dict[tuple[str, str], list[Row]] = {}
    for row in (row for lesson in lessons for row in lesson.rows):
        if row.subskill:
            leaves.setdefault((row.skill, row.subskill), []).append(row)

    def order(row: Row) -> str:
        return hashlib.sha256(f"{seed}/{row.id}".encode()).hexdigest()

    return [row for rows in leaves.values() for row in sorted(rows, key=order)[:most]]


def subskills(
    lessons: Sequence[Lesson], skill: str, right: Mapping[str, bool] | None = None
) -> list[SubskillState]:
    """Compute the leaves under a skill: allocations summed over the plans, rows and accuracies over the lessons.

    `right`: by row id, whether the student answers it rightly now; rows that it was not asked are absent.
    """
    allocation: dict[str, int] = {}
    leaves: dict[str, list[str]] = {}
    known: dict[str, bool] = {}
    for lesson in lessons:
        for request in lesson.plan.requests:
            if request.skill == skill and request.subskill:
                allocation.setdefault(request.subskill, 0)
        for action in lesson.plan.actions:
            if action.skill != skill:
                continue
            for name, delta in action.deltas.items():
                allocation[name] = max(0, allocation.get(name, 0) + delta)
        for row in lesson.rows:
            if row.skill == skill and row.subskill:
                allocation.setdefault(row.subskill, 0)
                leaves.setdefault(row.subskill, []).append(row.id)
        known |= lesson.known
    states = []
    for name, given in allocation.items():
        rows = leaves.get(name, [])
        answered = [right[row] for row in rows if right and row in right]
        before = [known[row] for row in rows if row in known]
        states.append(
            SubskillState(
                name=name,
                allocation=given,
                rows=len(rows),
                accuracy=sum(answered) / len(answered) if answered else None,
                n=len(answered),
                known_before=sum(before) / len(before) if before else None,
            )
        )
    return states
