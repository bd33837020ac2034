"""Feedback reader: select the part of the observation that the planner and the generator see."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.envs.evaluation import UNSKILLED
from dataenvgym.envs.observation import CurvePoint, Observation, SkillState
from dataenvgym.envs.types import Frozen, Instance, Prediction


class ErrorExample(Frozen):
    """A val instance that the student got wrong, with what it wrote."""

    id: str
    skill: str
    question: str
    text: str
    gold: str
    detail: str = Field("", description="Why the text is wrong, if running it showed that.")


class Diagnosis(Frozen):
    """One thing that the student does wrong, as a model read it from its errors."""

    skill: str
    problem: str = Field(description="What it does wrong.")
    practice: str = Field("", description="What practice would mend it.")
    examples: list[str] = Field(description="Ids of the errors that show it.")


class Feedback(Frozen):
    """The input of a policy. Withheld fields are null or empty."""

    iteration: int
    structure: str
    state: bool
    budget: int
    accuracy: float | None
    n: int
    correct: int
    errors: list[ErrorExample] = Field(description="A sample of the errors; without state there are none.")
    diagnoses: list[Diagnosis] = Field(
        default_factory=list, description="With `teacher.reader: model`: what it does wrong, by a model's reading."
    )
    skills: list[SkillState]
    history: list[CurvePoint]
    start: Literal["base", "last"] = Field("base", description="What each training starts from.")
    exemplars: list[Instance]
    examples: list[Instance] = Field(
        default_factory=list, description="Without state: train instances from which the model plans."
    )


def read_open_ended(observation: Observation, config: TeacherConfig, seed: int) -> Feedback:
    """Select a random sample of the errors, without skills.

    Without state, select random train instances to plan from (paper, section 3: the no-state baseline). They are
    examples of the benchmark, and nothing is said of the student.
    """
    rng = random.Random(f"feedback/{seed}/{observation.iteration}")
    if not observation.state:
        count = min(config.errors_shown, len(observation.exemplars))
        examples = rng.sample(observation.exemplars, count)
        return _feedback(observation, [], skills=[]).model_copy(update={"examples": examples})
    errors = [p for p in observation.predictions if not p.correct]
    chosen = rng.sample(errors, min(config.errors_shown, len(errors)))
    return _feedback(observation, [_error(p) for p in chosen], skills=[])


def read_skills(observation: Observation, config: TeacherConfig, seed: int) -> Feedback:
    """Select accuracy and count per skill, and some errors of each skill.

    Without state, return the feedback of the open-ended teacher (paper, section 3).
    """
    if not observation.state:
        return read_open_ended(observation, config, seed)
    return _feedback(observation, _errors_by_skill(observation, config, seed), _named(observation))


def read_forest(observation: Observation, config: TeacherConfig, seed: int) -> Feedback:
    """Select the skill forest. Without state it has only names and allocations, and no errors."""
    errors = _errors_by_skill(observation, config, seed) if observation.state else []
    return _feedback(observation, errors, _named(observation))


READERS: dict[str, Callable[[Observation, TeacherConfig, int], Feedback]] = {
    "open_ended": read_open_ended,
    "skill_list": read_skills,
    "skill_tree": read_forest,
}


def _errors_by_skill(observation: Observation, config: TeacherConfig, seed: int) -> list[ErrorExample]:
    rng = random.Random(f"feedback/{seed}/{observation.iteration}")
    shown = []
    for skill in _named(observation):
        errors = [p for p in observation.predictions if p.skill == skill.name and not p.correct]
        shown += [_error(p) for p in rng.sample(errors, min(config.errors_per_skill, len(errors)))]
    return shown


def _named(observation: Observation) -> list[SkillState]:
    """The skills that data can be asked for: all but the bucket of instances without a skill."""
    return [skill for skill in observation.skills if skill.name != UNSKILLED] or observation.skills


def _error(prediction: Prediction) -> ErrorExample:
    return ErrorExample(
        id=prediction.id,
        skill=prediction.skill,
        question=prediction.question,
        text=prediction.text,
        gold=prediction.gold,
        detail=prediction.detail,
    )


def _feedback(observation: Observation, errors: list[ErrorExample], skills: list[SkillState]) -> Feedback:
    return Feedback(
        iteration=observation.iteration,
        structure=observation.structure,
        state=observation.state,
        budget=observation.budget,
        accuracy=observation.accuracy,
        n=observation.n,
        correct=sum(p.correct for p in observation.predictions),
        errors=errors,
        skills=skills,
        history=observation.history,
        start=observation.start,
        exemplars=observation.exemplars,
    )
