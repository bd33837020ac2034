"""The skill forest as it follows from plans and rows, and what is withheld without state."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.config import TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.evaluation import accuracy, by_skill, score
from dataenvgym.envs.observation import Lesson, Observation, leaf_rows, subskills
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import DataRequest, Instance, Plan, Prediction, Provenance, Row, SkillAction

TASK = load(TaskConfig(name="arithmetic", val_size=4, test_size=1))
HIDDEN = "what the student wrote"


def row(name: str, skill: str, subskill: str = "") -> Row:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    return Row(id=name, question="q", solution="s", answer="1", skill=skill, subskill=subskill, provenance=made)


def lesson(deltas: dict[str, int], rows: dict[str, int], known: bool | None = None, number: int = 1) -> Lesson:
    given_rows = [row(f"{number}-{leaf}-{n}", "a", leaf) for leaf, count in rows.items() for n in range(count)]
    plan = Plan(policy="p", requests=[], actions=[SkillAction(skill="a", kind="exploit", deltas=deltas)])
    return Lesson(plan=plan, rows=given_rows, known={} if known is None else {r.id: known for r in given_rows})


def test_a_leaf_sums_allocations_and_rows_over_the_lessons() -> None:
    lessons = [
        lesson({"x": 4, "y": 2}, {"x": 3}, known=False),
        lesson({"x": 1, "y": -5}, {"x": 1, "y": 1}, known=True, number=2),
    ]
    x, y = subskills(lessons, "a")
    assert (x.name, x.allocation, x.rows, x.known_before) == ("x", 5, 4, 0.25)
    assert (y.name, y.allocation, y.rows, y.known_before) == ("y", 0, 1, 1.0)  # never below nothing
    assert subskills(lessons, "b") == []


def test_a_leafs_accuracy_is_the_students_on_the_rows_that_it_has_answered_now() -> None:
    lessons = [lesson({"x": 4}, {"x": 3}, known=False)]
    (x,) = subskills(lessons, "a", {"1-x-0": True, "1-x-2": True, "of another leaf": False})
    assert (x.rows, x.n, x.accuracy, x.known_before) == (3, 2, 1.0, 0.0)
    (x,) = subskills(lessons, "a")
    assert (x.rows, x.n, x.accuracy, x.known_before) == (3, 0, None, 0.0)


def test_what_was_known_before_is_joined_by_row_and_null_where_the_trainer_cannot_tell() -> None:
    (x,) = subskills([lesson({"x": 4}, {"x": 3})], "a")
    assert (x.rows, x.known_before) == (3, None)
    (x,) = subskills([lesson({"x": 4}, {"x": 3}), lesson({}, {"x": 1}, known=True, number=2)], "a")
    assert (x.rows, x.known_before) == (4, 1.0)


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), most=st.integers(0, 9), seed=st.integers(0, 9))
def test_at_most_so_many_rows_of_each_leaf_are_drawn_and_growth_displaces_few(
    sizes: list[int], most: int, seed: int
) -> None:
    given_rows = {f"leaf {number}": size for number, size in enumerate(sizes)}
    drawn = leaf_rows([lesson({}, given_rows)], most, seed)
    assert {leaf: sum(r.subskill == leaf for r in drawn) for leaf in given_rows} == {
        leaf: min(most, size) for leaf, size in given_rows.items()
    }
    more = leaf_rows([lesson({}, given_rows), lesson({}, {"leaf 0": 1}, number=2)], most, seed)
    assert len({r.id for r in drawn} - {r.id for r in more}) <= 1


def test_rows_without_a_subskill_are_not_drawn() -> None:
    assert leaf_rows([Lesson(plan=Plan(policy="p", requests=[]), rows=[row("1", "a")])], 8, 0) == []


def test_subskills_of_requests_and_rows_are_leaves_also_without_actions() -> None:
    plan = Plan(policy="p", requests=[DataRequest(id="r0", skill="a", subskill="asked", count=2)])
    leaves = subskills([Lesson(plan=plan, rows=[row("1", "a", "written"), row("2", "a")])], "a")
    assert [(s.name, s.allocation, s.rows) for s in leaves] == [("asked", 0, 0), ("written", 0, 1)]


def evaluation(right: list[bool], text: str = "t") -> list[Prediction]:
    return [
        Prediction(
            id=item.id,
            skill=str(item.skill),
            question=item.question,
            gold=item.answer,
            text=text,
            answer="1",
            correct=r,
        )
        for item, r in zip(TASK.val, right, strict=True)
    ]


def answer(row: Row, right: bool) -> Prediction:
    return Prediction(id=row.id, skill=row.skill, question="q", gold="1", text=HIDDEN, answer=None, correct=right)


def observe(
    evaluations: list[list[Prediction]], lessons: list[Lesson], state: bool, structure: str, right: bool = True
) -> Observation:
    env = TeacherEnv(TASK, None, TrainConfig(), Path("unused"))  # type: ignore[arg-type]
    return env.observe(
        structure=structure,
        state=state,
        iteration=len(evaluations),
        budget=10,
        evaluations=evaluations,
        lessons=lessons,
        answers=[answer(row, right) for lesson in lessons for row in lesson.rows],
    )


SIZE = len(TASK.val)
RIGHT = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE)


@pytest.mark.parametrize("structure", ["open_ended", "skill_list", "skill_tree"])
@settings(max_examples=25)
@given(one=st.tuples(RIGHT, RIGHT), other=st.tuples(RIGHT, RIGHT), known=st.booleans())
def test_without_state_the_observation_does_not_depend_on_what_was_measured(
    structure: str, one: Any, other: Any, known: bool
) -> None:
    lessons, others = ([lesson({"x": 2}, {"x": 2}, k)] for k in (known, not known))
    first = observe([evaluation(r, HIDDEN) for r in one], lessons, False, structure, right=known)
    second = observe([evaluation(r) for r in other], others, False, structure, right=not known)
    assert first == second
    assert HIDDEN not in first.model_dump_json()
    assert not any(item.id in first.model_dump_json() for item in (*TASK.val, *TASK.test))


@settings(max_examples=25)
@given(one=RIGHT, two=RIGHT)
def test_with_state_the_numbers_are_those_of_the_evaluations(one: list[bool], two: list[bool]) -> None:
    seen = observe([evaluation(one), evaluation(two)], [lesson({"x": 2}, {"x": 2}, True)], True, "skill_list")
    assert seen.accuracy == sum(two) / SIZE and seen.n == SIZE
    assert seen.reward == pytest.approx((sum(two) - sum(one)) / SIZE)
    assert [(p.iteration, p.rows, p.accuracy) for p in seen.history] == [
        (0, 0, sum(one) / SIZE),
        (1, 2, sum(two) / SIZE),
    ]
    assert [s.name for s in seen.skills] == sorted({str(i.skill) for i in TASK.val})
    before, after = by_skill(evaluation(one)), by_skill(evaluation(two))
    for skill in seen.skills:
        assert (skill.accuracy, skill.n) == (accuracy(after[skill.name]), 4)
        assert skill.rewards == [pytest.approx(accuracy(after[skill.name]) - accuracy(before[skill.name]))]
        assert skill.reward == skill.rewards[-1]


def test_the_base_evaluation_has_no_reward() -> None:
    seen = observe([evaluation([True] * SIZE)], [], True, "skill_list")
    assert (seen.reward, seen.skills[0].reward, seen.skills[0].rewards) == (None, None, [])


@pytest.mark.parametrize("state", [True, False])
def test_exemplars_come_from_train_alone_some_of_each_skill_and_anew_each_iteration(state: bool) -> None:
    first = observe([evaluation([True] * SIZE)], [], state, "skill_tree")
    train = {i.id for i in TASK.train}
    ids = [i.id for i in first.exemplars]
    assert set(ids) <= train and len(set(ids)) == len(ids)
    assert {i.skill for i in first.exemplars} == {i.skill for i in TASK.val}
    assert ids == [i.id for i in observe([evaluation([True] * SIZE)], [], state, "skill_tree").exemplars]
    again = observe([evaluation([True] * SIZE)] * 2, [lesson({}, {})], state, "skill_tree")
    assert ids != [i.id for i in again.exemplars]


def test_scoring_keeps_order_and_takes_the_given_skills() -> None:
    items = [Instance(id=n, question="q", answer=a, skill=s) for n, a, s in [("1", "5", "gold"), ("2", "6", None)]]
    scored = score(MATH, items, ["Answer: 5", "no"], {"2": "found"})
    assert (scored[0].id, scored[0].skill, scored[0].correct, scored[0].answer) == ("1", "gold", True, "5")
    assert (scored[1].skill, scored[1].correct) == ("found", False)
    assert score(MATH, items[1:], ["x"], {})[0].skill == "other"
    assert accuracy(scored) == 0.5 and accuracy([]) == 0.0
    with pytest.raises(ValueError, match="zip"):
        score(MATH, items, ["Answer: 5"], {})
