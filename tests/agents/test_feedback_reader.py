"""What of an observation the planner and the generator are shown."""

import pytest

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.feedback_reader import READERS
from dataenvgym.envs.observation import Observation, SkillState, SubskillState
from dataenvgym.envs.types import Instance, Prediction

CONFIG = TeacherConfig(errors_shown=7, errors_per_skill=2)


def prediction(skill: str, number: int, correct: bool) -> Prediction:
    return Prediction(
        id=f"val/{skill}/{number}",
        skill=skill,
        question=f"{skill} {number}?",
        gold="1",
        text=f"said {number}",
        answer="1" if correct else "2",
        correct=correct,
    )


def observed(structure: str, iteration: int = 1) -> Observation:
    predictions = [prediction(s, n, correct=n < right) for s, right in [("a", 3), ("b", 9)] for n in range(10)]
    return Observation(
        task="t",
        domain="math",
        structure=structure,
        state=True,
        iteration=iteration,
        budget=10,
        accuracy=0.6,
        n=20,
        predictions=predictions,
        skills=[SkillState(name="a", accuracy=0.3, n=10), SkillState(name="b", accuracy=0.9, n=10)],
        exemplars=[Instance(id=f"train/{n}", question=f"q{n}", answer="5", skill="a") for n in range(9)],
    )


def withheld(structure: str) -> Observation:
    leaf = SubskillState(name="leaf", allocation=4, rows=3)
    return observed(structure).model_copy(
        update={
            "state": False,
            "accuracy": None,
            "n": 0,
            "predictions": [],
            "skills": [SkillState(name="a", subskills=[leaf])],
        }
    )


def test_open_ended_shows_a_sample_of_the_errors_and_no_skills() -> None:
    seen = READERS["open_ended"](observed("open_ended"), CONFIG, 0)
    assert len(seen.errors) == len({e.id for e in seen.errors}) == 7
    assert all(e.id.startswith("val/") and e.gold == "1" and e.text for e in seen.errors)
    wrong = {p.id for p in observed("open_ended").predictions if not p.correct}
    assert {e.id for e in seen.errors} <= wrong
    assert (seen.skills, seen.accuracy, seen.n, seen.correct) == ([], 0.6, 20, 12)


@pytest.mark.parametrize("structure", list(READERS))
def test_why_an_answer_is_wrong_is_passed_on(structure: str) -> None:
    seen = observed(structure)
    told = [p.model_copy(update={"detail": f"why {p.id}"}) for p in seen.predictions]
    errors = READERS[structure](seen.model_copy(update={"predictions": told}), CONFIG, 0).errors
    assert errors
    assert all(e.detail == f"why {e.id}" for e in errors)
    assert READERS[structure](withheld(structure), CONFIG, 0).errors == []


@pytest.mark.parametrize("structure", ["skill_list", "skill_tree"])
def test_no_data_are_asked_for_the_instances_without_a_skill(structure: str) -> None:
    seen = observed(structure)
    rest = SkillState(name="other", accuracy=0.0, n=4)
    missed = [prediction("other", n, correct=False) for n in range(4)]
    both = seen.model_copy(update={"skills": [*seen.skills, rest], "predictions": [*seen.predictions, *missed]})
    read = READERS[structure](both, CONFIG, 0)
    assert [s.name for s in read.skills] == ["a", "b"]
    assert {e.skill for e in read.errors} == {"a", "b"}
    alone = READERS[structure](seen.model_copy(update={"skills": [rest]}), CONFIG, 0)
    assert [s.name for s in alone.skills] == ["other"], "there is nothing else to ask for"


@pytest.mark.parametrize("structure", ["skill_list", "skill_tree"])
def test_errors_are_sampled_per_skill(structure: str) -> None:
    seen = READERS[structure](observed(structure), CONFIG, 0)
    assert [e.skill for e in seen.errors] == ["a", "a", "b"]  # b has one error only
    assert seen.skills == observed(structure).skills


@pytest.mark.parametrize("structure", list(READERS))
def test_the_sample_comes_from_the_seed_and_the_iteration(structure: str) -> None:
    def ids(iteration: int, seed: int) -> list[str]:
        return [e.id for e in READERS[structure](observed(structure, iteration), CONFIG, seed).errors]

    assert ids(1, 0) == ids(1, 0)
    assert len({tuple(ids(iteration, seed)) for iteration in range(1, 5) for seed in range(3)}) > 1


@pytest.mark.parametrize("structure", ["open_ended", "skill_list"])
def test_without_state_train_instances_are_examples_and_there_are_no_errors(structure: str) -> None:
    seen = READERS[structure](withheld(structure), CONFIG, 0)
    assert seen.errors == [] and seen.skills == []
    assert len(seen.examples) == 7 and all(e.id.startswith("train/") for e in seen.examples)
    assert not READERS[structure](observed(structure), CONFIG, 0).examples


@pytest.mark.parametrize("structure", list(READERS))
def test_without_state_nothing_measured_is_shown(structure: str) -> None:
    seen = READERS[structure](withheld(structure), CONFIG, 0)
    assert (seen.accuracy, seen.n, seen.correct, seen.history) == (None, 0, 0, [])
    assert not seen.state
    assert seen.errors == []
    for skill in seen.skills:
        assert (skill.accuracy, skill.n, skill.reward, skill.rewards) == (None, 0, None, [])
        assert all(leaf.accuracy is None for leaf in skill.subskills)


def test_without_state_the_forest_keeps_names_and_allocations() -> None:
    seen = READERS["skill_tree"](withheld("skill_tree"), CONFIG, 0)
    assert seen.errors == []
    assert [(s.name, leaf.name, leaf.allocation) for s in seen.skills for leaf in s.subskills] == [
        ("a", "leaf", 4)
    ]
