"""The feedback reader's model: which errors it is shown, what is taken of its reading, and where it goes."""

import asyncio
from typing import Any

import pytest
from fake_gateway import Request, fake_client
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.diagnosis import Reading, diagnose, with_diagnoses
from dataenvgym.agents.feedback_reader import Diagnosis, ErrorExample, Feedback
from dataenvgym.envs.errors import BudgetReachedError
from dataenvgym.envs.observation import SkillState
from dataenvgym.envs.types import DataRequest, Plan, SkillAction


def feedback(errors: dict[str, int], structure: str = "skill_list") -> Feedback:
    return Feedback(
        iteration=1,
        structure=structure,
        state=True,
        budget=10,
        accuracy=0.5,
        n=9,
        correct=4,
        errors=[
            ErrorExample(id=f"val/{skill}/{n}", skill=skill, question=f"{skill} {n}?", text=f"said {n}", gold="1")
            for skill, count in errors.items()
            for n in range(count)
        ],
        skills=[] if structure == "open_ended" else [SkillState(name=skill) for skill in errors],
        history=[],
        exemplars=[],
    )


def read(given_feedback: Feedback, reply: Any, **settings: Any) -> tuple[Reading, list[Request]]:
    client, gateway = fake_client(reply, TeacherConfig(reader="model", **settings))
    return asyncio.run(diagnose(given_feedback, client)), gateway.asked


def item(skill: str, *examples: str, problem: str = "leaves out the carry") -> dict[str, Any]:
    return {"skill": skill, "problem": problem, "practice": "carrying", "examples": list(examples)}


def test_each_error_is_shown_once_with_its_skill_and_a_skill_stays_whole_where_it_fits() -> None:
    given_feedback = feedback({"add": 3, "chain": 5, "double": 1})
    _, asked = read(given_feedback, lambda asked: [item("add", "val/add/0")], errors_per_call=5)
    texts = [one.prompt.text for one in asked]
    assert [[text.count(f"{e.skill} {e.id[-1]}?") for text in texts] for e in given_feedback.errors] == [
        *[[1, 0, 0]] * 3,
        *[[0, 1, 0]] * 5,
        [0, 0, 1],
    ]
    assert all("said 0" in text and "Skill: " in text for text in texts)


def test_in_the_open_ended_structure_no_skill_is_shown_and_any_may_be_named() -> None:
    found, (asked,) = read(feedback({"add": 2}, "open_ended"), lambda asked: [item("carrying", "val/add/1")])
    assert "Skill: " not in asked.prompt.text
    assert [one.skill for one in found.diagnoses] == ["carrying"]


def test_diagnoses_are_merged_over_calls_and_those_of_most_errors_come_first() -> None:
    def reply(asked: Request) -> list[Any]:
        number = 0 if "add 0?" in asked.prompt.text else 3
        return [
            item("add", f"val/add/{number}", problem="Reads the sign wrongly"),
            item(
                "add", f"val/add/{number}", f"val/add/{number + 1}", problem=f"Leaves out the{' ' * number} carry."
            ),
        ]

    found, asked = read(feedback({"add": 6}), reply, errors_per_call=3)
    assert len(asked) == 2 and not found.rejected
    assert [(one.problem, len(one.examples)) for one in found.diagnoses] == [
        ("Leaves out the carry.", 4),
        ("Reads the sign wrongly", 2),
    ]


def test_a_reading_of_no_error_or_of_another_skill_is_rejected_with_the_reason() -> None:
    replies = [
        item("add", "val/add/7", problem="a"),
        item("add", problem="b"),
        item("sums", "val/add/0", problem="c"),
        {"skill": "add"},
        item("add", "val/add/0", "made up", "val/add/0", problem="d"),
    ]
    found, _ = read(feedback({"add": 2}), lambda asked: replies)
    assert [(one.problem, one.examples) for one in found.diagnoses] == [("d", ["val/add/0"])]
    reasons = [one.verdicts[0].reason for one in found.rejected]
    assert len(reasons) == 4 and any("val/add/7" in reason for reason in reasons)
    assert any("it names none" in reason for reason in reasons) and any("'sums'" in reason for reason in reasons)


def test_a_cap_leaves_out_what_was_not_asked() -> None:
    def reply(asked: Request) -> list[Any]:
        if "chain 0?" in asked.prompt.text:
            raise BudgetReachedError("budget of 1 calls used")
        return [item("add", "val/add/0")]

    found, _ = read(feedback({"add": 2, "chain": 2}), reply, errors_per_call=2)
    assert len(found.diagnoses) == 1 and found.stopped == "budget of 1 calls used"


def test_reasons_say_what_was_found_of_the_skill_or_of_the_same_errors() -> None:
    plan = Plan(
        policy="p",
        requests=[
            DataRequest(id="r0", skill="Add", count=1, reason="accuracy 0.2 on 9"),
            DataRequest(id="r1", skill="other words", count=1, exemplars=["e7"]),
            DataRequest(id="r2", skill="double", count=1, reason="weak"),
        ],
        actions=[SkillAction(skill="add", kind="exploit", reason="carry lost")],
    )
    found = [
        Diagnosis(skill="add", problem="carry lost", examples=["e1"]),
        Diagnosis(skill="chain", problem="order ignored", examples=["e7"]),
    ]
    told = with_diagnoses(plan, found)
    assert [r.reason for r in told.requests] == ["accuracy 0.2 on 9; carry lost", "order ignored", "weak"]
    assert [a.reason for a in told.actions] == ["carry lost"], "not twice"
    assert with_diagnoses(plan, []) == plan


names = st.sampled_from(["add", "chain", "double"])


@pytest.mark.parametrize("structure", ["open_ended", "skill_list"])
@given(st.data())
def test_whatever_a_model_says_no_error_is_invented_and_nothing_is_lost(
    structure: str, data: st.DataObject
) -> None:
    shown = data.draw(st.dictionaries(names, st.integers(1, 4), min_size=1))
    ids = st.builds("val/{}/{}".format, names, st.integers(0, 5))
    replies = data.draw(
        st.lists(st.builds(lambda s, p, e: item(s, *e, problem=p), names, st.text(min_size=1), st.lists(ids)))
    )
    given_feedback = feedback(shown, structure)
    found, asked = read(given_feedback, lambda asked: replies, errors_per_call=100)
    known = {e.id for e in given_feedback.errors}
    assert all(one.examples and set(one.examples) <= known for one in found.diagnoses)
    good = sum(len(one.examples) for one in found.diagnoses)
    assert good <= sum(len(set(r["examples"]) & known) for r in replies)
    kinds = {(r["skill"], " ".join(r["problem"].casefold().split()).rstrip(".")) for r in replies}
    assert len(found.diagnoses) + len(found.rejected) >= len(kinds) * len(asked)
