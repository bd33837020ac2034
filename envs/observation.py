"""The observation that the teacher sees, and the skill forest computed from the run's plans and rows."""

from __future__ import annotations

from collections.abc import Sequence

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
        description="Share of its rows that the student would have written word for word when it first "
        "met them in training; null before any training, or where the trainer does not report it.",
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
    """The plan and the rows of one iteration, from which the forest is computed."""

    plan: Plan
    rows: list[Row]
    hits: list[bool] | None = None


def subskills(lessons: Sequence[Lesson], skill: str) -> list[SubskillState]:
    """Compute the leaves under a skill: allocations summed over the plans, rows and accuracy over the lessons."""
    allocation: dict[str, int] = {}
    rows: dict[str, int] = {}
    known: dict[str, list[bool]] = {}
    for lesson in lessons:
        for request in lesson.plan.requests:
            if request.skill == skill and request.subskill:
                allocation.setdefault(request.subskill, 0)
        for action in lesson.plan.actions:
            if action.skill != skill:
                continue
            for name, delta in action.deltas.items():
                allocation[name] = max(0, allocation.get(name, 0) + delta)
        hits: Sequence[bool | None] = lesson.hits if lesson.hits is not None else [None] * len(lesson.rows)
        for row, hit in zip(lesson.rows, hits, strict=True):
            if row.skill == skill and row.subskill:
                allocation.setdefault(row.subskill, 0)
                rows[row.subskill] = rows.get(row.subskill, 0) + 1
                if hit is not None:
                    known.setdefault(row.subskill, []).append(hit)
    return [
        SubskillState(
            name=name,
            allocation=given,
            rows=rows.get(name, 0),
            accuracy=sum(known[name]) / len(known[name]) if known.get(name) else None,
        )
        for name, given in allocation.items()
    ]
