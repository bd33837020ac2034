"""What the scripted model answers to the prompts of `prompts/code`: problems of the `functions` task."""

import json
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from scripted_asking import HISTORY, ITEMS, items, leaf, listed, tool_schema
from scripted_asking import SAMPLES as MATH_SAMPLES

from dataenvgym.agents.prompt_files import list_prompts
from dataenvgym.agents.prompts import load_prompt
from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.envs.domains.base import DOMAINS
from dataenvgym.envs.domains.code.domain import CodeRow
from dataenvgym.envs.domains.code.tasks.functions.skills import (
    SKILLS,
    key,
    make_tests,
    problem,
    program_fields,
    read,
    recognise,
)
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS as MATH_SKILLS
from dataenvgym.envs.errors import TeacherError

STRANGE = "Write a program that prints its input backwards."


def exemplar(skill: str, index: int = 0) -> dict[str, Any]:
    drawn = problem(skill, 99, index)
    asked = read(drawn.question)
    assert asked is not None
    fields = {"question": drawn.question, "solution": "", "answer": drawn.answer, **program_fields(asked)}
    return {"id": f"functions/train/{skill}/{index:03d}", **fields}


def error(skill: str, index: int = 0, question: str | None = None) -> dict[str, str]:
    drawn = problem(skill, 98, index)
    return {
        "id": f"functions/val/{skill}/{index:03d}",
        "question": question or drawn.question,
        "text": "```python\ndef f(x):\n    return x\n```",
        "detail": "test 1: failed: got 1\nNumber of problems: 3",
        "gold": drawn.answer,
    }


SAMPLES: dict[str, dict[str, Any]] = {
    "generate_rows": {
        "skill": "list_mapping",
        "subskill": "multiples",
        "count": 12,
        "reason": "It leaves\nthe loop out.",
        "exemplars": [exemplar("list_mapping")],
        "errors": [error("list_mapping")],
        "avoid": [problem("list_mapping", 1, 1).question],
        "answer_format": "Complete code.",
        "round": 0,
        "batch": 0,
    },
    "diagnose_errors": {
        "skills": [
            {"name": "loops", "errors": [error("loops", i) for i in range(3)]},
            {"name": "counting", "errors": [error("counting")]},
        ]
    },
    "plan_open_ended": {
        **MATH_SAMPLES["plan_open_ended"],
        "errors": [error("loops", i) for i in range(3)] + [error("counting")],
    },
    "plan_without_state": {"budget": 100, "examples": [exemplar("loops"), exemplar("counting")]},
    "plan_skill_list": {
        "budget": 100,
        "skills": [listed("loops", 0.2, [error("loops")]), listed("counting", 0.8, []), listed("other", None, [])],
        "history": HISTORY,
        "start": "base",
        "diagnoses": [],
    },
    "plan_skill_tree": {
        "budget": 90,
        "skills": [
            {"name": "loops", "accuracy": 0.4, "n": 30, "reward": 0.1, "subskills": []},
            {"name": "counting", "accuracy": 0.4, "n": 30, "reward": None, "subskills": [leaf("letters", 0.1)]},
        ],
        "history": HISTORY,
        "start": "base",
        "diagnoses": [],
        "max_subskills": 5,
    },
    "propose_subskills": {
        "skill": "counting",
        "count": 4,
        "existing": ["By Size"],
        "exemplars": [exemplar("counting")],
    },
    "label_skills": {
        "instances": [{"id": f"i{n}", "question": problem(s, 5, n).question} for n, s in enumerate(SKILLS)],
        "known": ["loops"],
    },
    "merge_skills": {
        "names": [{"name": f"skill_{n}", "count": n} for n in range(6)],
        "max_categories": 4,
    },
    "solve": {
        "problems": [
            {"id": f"p{n}", "question": problem(s, 5, n).question, "starter": ""} for n, s in enumerate(SKILLS)
        ],
        "answer_format": "Complete code.",
        "sample": 1,
    },
}


def ask(name: str, model: ScriptedChatModel | None = None, **changes: Any) -> AIMessage:
    prompt = load_prompt("code", name).render(**{**SAMPLES[name], **changes})
    schema = tool_schema(prompt.tool, CodeRow if prompt.tool == "submit_rows" else None)
    bound = (model or ScriptedChatModel(domain="code")).bind_tools([schema], tool_choice=prompt.tool)
    return bound.invoke([SystemMessage(prompt.system), HumanMessage(prompt.text)])


def rows(model: ScriptedChatModel | None = None, **changes: Any) -> list[dict[str, Any]]:
    return items(ask("generate_rows", model, **changes))


def passes(program: str, question: str) -> bool:
    """Runs a program, made from templates of ours, on the tests of a problem of the task."""
    asked = read(question)
    assert asked is not None
    names: dict[str, Any] = {}
    exec(program, names)
    try:
        return all(
            json.dumps(names[asked.function](*map(json.loads, test["input"].split("\n")))) == test["output"]
            for test in make_tests(asked)
        )
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False


def test_every_template_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(list_prompts("code")) == set(MATH_SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_is_answered_with_valid_items(name: str) -> None:
    message = ask(name)
    tool = load_prompt("code", name).head.tool
    found = items(message)
    assert found
    for item in found:
        (CodeRow if tool == "submit_rows" else ITEMS[tool]).model_validate(item, strict=True)
    assert message.tool_calls[0]["name"] == tool


@pytest.mark.parametrize("skill", SKILLS)
def test_rows_are_right_distinct_and_of_the_skill(skill: str) -> None:
    found = rows(skill=skill, subskill="", count=40)
    asked = [read(row["question"]) for row in found]
    assert len({key(each) for each in asked if each}) == len(found) == 40
    for row, each in zip(found, asked, strict=True):
        assert each is not None
        assert set(row) == {"question", "starter", "tests", "solution", "answer"}
        assert recognise(row["question"]) == skill
        assert row["answer"].startswith(row["starter"])
        assert row["tests"] == make_tests(each)
        assert passes(row["answer"], row["question"])
        assert row["solution"] == ""


@pytest.mark.parametrize(("skill", "variant"), [(s, v) for s in SKILLS for v in SKILLS[s].variants])
def test_rows_follow_the_subskill_when_it_is_a_variant(skill: str, variant: str) -> None:
    found = [
        read(row["question"]) for row in rows(skill=skill.replace("_", " ").title(), subskill=variant.upper())
    ]
    assert {(each.skill, each.form.variant) for each in found if each} == {(skill, variant)}


def test_rows_are_no_shown_problem_under_another_name() -> None:
    shown = [problem("counting", 0, i, "by remainder").question for i in range(60)]
    found = rows(skill="counting", subskill="by remainder", count=60, avoid=shown)
    asked = [[read(question) for question in each] for each in (shown, [row["question"] for row in found])]
    taken, new = ({key(each) for each in group if each} for group in asked)
    assert len(new) == 60
    assert not new & taken


def test_a_strange_skill_is_told_from_the_problems_shown_else_chosen_always_alike() -> None:
    bare = {"skill": "Recursion", "subskill": "", "exemplars": [], "errors": [], "avoid": []}
    found = rows(**{**bare, "errors": [error("loops")]})
    assert {recognise(row["question"]) for row in found} == {"loops"}
    both = rows(**bare) + rows(**bare, batch=1)
    assert len({recognise(row["question"]) for row in both}) == 1
    assert None not in {recognise(row["question"]) for row in both}


def test_plans_are_made_of_the_skills_of_the_problems_shown() -> None:
    assert {item["skill"]: item["count"] for item in items(ask("plan_open_ended"))} == {
        "loops": 75,
        "counting": 25,
    }
    spread = items(ask("plan_open_ended", errors=[], budget=100, n=0))
    assert {item["skill"]: item["count"] for item in spread} == dict.fromkeys(SKILLS, 10)
    listed_plan = items(ask("plan_skill_list"))
    assert {item["skill"] for item in listed_plan} == {"loops", "counting", "other"}
    assert sum(item["count"] for item in listed_plan) == 100
    actions = {item["skill"]: item["kind"] for item in items(ask("plan_skill_tree"))}
    assert actions == {"loops": "explore", "counting": "exploit"}


def test_subskills_are_the_variants_not_there_yet_then_mixtures() -> None:
    names = [item["name"] for item in items(ask("propose_subskills"))]
    assert names == ["by remainder", "one value", "letters", "mixed 1"]


def test_labels_name_the_skill_of_each_instance() -> None:
    sample = [*SAMPLES["label_skills"]["instances"], {"id": "odd", "question": STRANGE}]
    labels = {item["id"]: item["skill"] for item in items(ask("label_skills", instances=sample))}
    assert labels == {**{f"i{n}": skill for n, skill in enumerate(SKILLS)}, "odd": "other"}


def test_solutions_pass_the_tests_and_are_written_in_another_way() -> None:
    problems = [*SAMPLES["solve"]["problems"], {"id": "odd", "question": STRANGE, "starter": ""}]
    questions = {each["id"]: each["question"] for each in problems}
    found = items(ask("solve", problems=problems))
    assert [item["id"] for item in found] == [f"p{n}" for n in range(len(SKILLS))]
    for number, (item, skill) in enumerate(zip(found, SKILLS, strict=True)):
        assert passes(item["answer"], questions[item["id"]])
        assert item["answer"] != problem(skill, 5, number).answer


# --- errors on request ---


def test_wrong_answers_fail_the_tests_and_leave_the_rest() -> None:
    for skill in SKILLS:
        right, wrong = (
            rows(ScriptedChatModel(domain="code", wrong_answer=rate), skill=skill, subskill="") for rate in (0, 1)
        )
        for a, b in zip(right, wrong, strict=True):
            assert {**a, "answer": ""} == {**b, "answer": ""}
            assert passes(a["answer"], a["question"])
            assert not passes(b["answer"], b["question"])


def test_an_error_rate_is_met_roughly() -> None:
    found = rows(ScriptedChatModel(domain="code", wrong_answer=0.25), count=100)
    assert 10 <= sum(not passes(row["answer"], row["question"]) for row in found) <= 45


def test_wrong_solutions_fail_the_tests() -> None:
    problems = [{"id": f"p{n}", "question": problem("loops", 5, n).question, "starter": ""} for n in range(60)]
    questions = {each["id"]: each["question"] for each in problems}
    found = items(ask("solve", ScriptedChatModel(domain="code", wrong_solution=0.3), problems=problems))
    assert 6 <= sum(not passes(item["answer"], questions[item["id"]]) for item in found) <= 36


def test_copies_are_val_problems_shown_with_their_tests() -> None:
    shown = [error("loops", index) for index in range(3)]
    found = rows(ScriptedChatModel(domain="code", copied=0.5), skill="loops", subskill="", errors=shown, count=40)
    questions = {each["question"] for each in shown}
    copied = [row for row in found if row["question"] in questions]
    assert 10 <= len(copied) <= 30
    assert all(passes(row["answer"], row["question"]) and len(row["tests"]) >= 3 for row in copied)


def test_a_copied_problem_that_no_skill_asks_is_a_row_without_tests() -> None:
    found = rows(ScriptedChatModel(domain="code", copied=1), errors=[error("loops", question=STRANGE)], count=3)
    assert [(row["question"], row["tests"]) for row in found] == [(STRANGE, [])] * 3


# --- which of its tasks it teaches ---


@pytest.mark.parametrize("name", ["plan_open_ended", "label_skills", "propose_subskills", "solve"])
def test_it_teaches_what_the_problems_shown_are_of_whatever_the_prompt_says(name: str) -> None:
    """The lines of the prompts are the same in both domains, so the problems of one may stand in the other's."""
    prompt = load_prompt("math", name).render(**SAMPLES[name])
    bound = ScriptedChatModel(domain="code").bind_tools([tool_schema(prompt.tool)], tool_choice=prompt.tool)
    reply = bound.invoke([SystemMessage(prompt.system), HumanMessage(prompt.text)])
    assert items(reply) == items(ask(name)) or name == "plan_open_ended"
    if name == "plan_open_ended":
        assert {item["skill"] for item in items(reply)} == {"loops", "counting"}


@pytest.mark.parametrize("name", ["plan_open_ended", "propose_subskills"])
def test_without_a_problem_or_skill_that_it_knows_it_teaches_its_domain(name: str) -> None:
    changes = {"plan_open_ended": {"errors": []}, "propose_subskills": {"skill": "magic", "exemplars": []}}[name]
    for domain, skills in (("code", SKILLS), ("math", MATH_SKILLS)):
        prompt = load_prompt(domain, name).render(**{**SAMPLES[name], **changes})
        bound = ScriptedChatModel(domain=domain).bind_tools([tool_schema(prompt.tool)])
        found = items(bound.invoke([SystemMessage(prompt.system), HumanMessage(prompt.text)]))
        if name == "plan_open_ended":
            assert {item["skill"] for item in found} == set(skills)
        else:
            summaries = [skill.summary for skill in skills.values()]
            assert any(found[0]["description"].startswith(summary) for summary in summaries)


def test_the_domain_decides_and_no_word_of_a_prompt() -> None:
    for domain, expected in (("code", SKILLS), ("math", MATH_SKILLS)):
        for other in ("code", "math"):
            prompt = load_prompt(other, "plan_open_ended").render(**{**SAMPLES["plan_open_ended"], "errors": []})
            bound = ScriptedChatModel(domain=domain).bind_tools([tool_schema(prompt.tool)])
            found = items(bound.invoke([SystemMessage(prompt.system), HumanMessage(prompt.text)]))
            assert {item["skill"] for item in found} == set(expected)


def test_a_domain_without_a_curriculum_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "bare", replace(DOMAINS["math"], name="bare", package="dataenvgym.envs.tasks"))
    bound = ScriptedChatModel(domain="bare").bind_tools([tool_schema("submit_rows")])
    with pytest.raises(TeacherError, match=r"cannot teach the domain 'bare'.*curriculum"):
        bound.invoke([HumanMessage("Write.")])
