"""What the scripted model answers to the prompts of `prompts/tool_use`: requests of the `tool_calls` task."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from scripted_asking import ITEMS, items, tool_schema

from dataenvgym.agents.prompt_files import list_prompts
from dataenvgym.agents.prompts import load_prompt
from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.commands.prompt_samples import samples
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.tool_use.domain import ToolRow, same_plan
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.requests import SKILLS, identity, problem, read, recognise
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Provenance, Row

DOMAIN = load_task(TaskConfig(name="tool_calls", val_size=1, test_size=1)).domain
STRANGE = "Sing me a song."


def error(skill: str, index: int = 0, question: str | None = None) -> dict[str, str]:
    drawn = problem(skill, 98, index)
    name = f"tool_calls/val/{skill}/{index:03d}"
    text, detail = '[{"name": "get_time"}]', "get_time has a wrong value\nNumber of problems: 3"
    shown = {"id": name, "skill": skill, "question": question or drawn.question, "text": text}
    return {**shown, "gold": drawn.answer, "detail": detail}


def ask(name: str, model: ScriptedChatModel | None = None, **changes: Any) -> AIMessage:
    prompt = load_prompt("tool_use", name).render(**{**samples("tool_use")[name].full, **changes})
    schema = tool_schema(prompt.tool, ToolRow if prompt.tool == "submit_rows" else None)
    bound = (model or ScriptedChatModel(domain="tool_use")).bind_tools([schema], tool_choice=prompt.tool)
    return bound.invoke([SystemMessage(prompt.system), HumanMessage(prompt.text)])


def rows(model: ScriptedChatModel | None = None, **changes: Any) -> list[dict[str, Any]]:
    bare = {"skill": "chained_calls", "subskill": "", "exemplars": [], "errors": [], "avoid": [], "count": 12}
    return items(ask("generate_rows", model, **{**bare, **changes}))


def right(fields: dict[str, Any]) -> bool:
    asked = read(fields["question"])
    assert asked is not None
    return same_plan(
        json.dumps([{"name": c.name, "arguments": c.arguments} for c in asked.calls()]), fields["answer"]
    )


def made(fields: dict[str, Any]) -> Row:
    known = ToolRow.model_validate(fields).model_dump()
    texts = {name: known.pop(name) for name in ("question", "solution", "answer")}
    source = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="0")
    return Row(id="x", **texts, skill="s", extra=known, provenance=source)


@pytest.mark.parametrize("name", list_prompts("tool_use"))
def test_every_kind_is_answered_with_valid_items(name: str) -> None:
    message = ask(name)
    tool = load_prompt("tool_use", name).head.tool
    found = items(message)
    assert found or name == "solve"  # the sample's problem is none of the task
    for item in found:
        (ToolRow if tool == "submit_rows" else ITEMS[tool]).model_validate(item)


@pytest.mark.parametrize("skill", SKILLS)
def test_rows_are_right_distinct_accepted_and_of_the_skill(skill: str) -> None:
    found = rows(skill=skill, count=30)
    assert len({identity(row["question"]) for row in found}) == len(found) == 30
    assert {recognise(row["question"]) for row in found} == {skill}
    assert all(right(row) for row in found)
    assert DOMAIN.vet is not None
    assert DOMAIN.vet([made(row) for row in found], None) == [""] * 30


@pytest.mark.parametrize(("skill", "variant"), [(s, v) for s in SKILLS for v in SKILLS[s].variants])
def test_rows_follow_the_subskill_when_it_is_a_variant(skill: str, variant: str) -> None:
    found = [
        read(row["question"]) for row in rows(skill=skill.replace("_", " ").title(), subskill=variant.upper())
    ]
    assert {(each.skill, each.form.variant) for each in found if each} == {(skill, variant)}


def test_a_shown_request_is_not_written_again_in_any_phrasing() -> None:
    shown = [problem("allowed_value", 0, index, "light").question for index in range(40)]
    taken = {identity(question) for question in shown}
    found = rows(skill="allowed_value", subskill="light", avoid=shown)
    assert found and not taken & {identity(row["question"]) for row in found}


def test_plans_labels_and_solutions_are_of_the_requests_shown() -> None:
    errors = [error("clock_time", index) for index in range(3)] + [error("no_tool")]
    plan = {item["skill"]: item["count"] for item in items(ask("plan_open_ended", errors=errors, budget=100))}
    assert plan == {"clock_time": 75, "no_tool": 25}
    shown = [{"id": f"i{n}", "question": problem(skill, 5, n).question} for n, skill in enumerate(SKILLS)]
    strange = {"id": "odd", "question": STRANGE}
    labels = {item["id"]: item["skill"] for item in items(ask("label_skills", instances=[*shown, strange]))}
    assert labels == {**{f"i{n}": skill for n, skill in enumerate(SKILLS)}, "odd": "other"}
    asked = [{**each, "tools": []} for each in (*shown, strange)]
    solved = items(ask("solve", problems=asked))
    assert [item["id"] for item in solved] == [each["id"] for each in shown]
    assert all(right({**item, "question": asked[n]["question"]}) for n, item in enumerate(solved))


def test_wrong_answers_are_wrong_rejected_and_leave_the_rest() -> None:
    assert DOMAIN.vet is not None
    for skill in SKILLS:
        sound, spoilt = (
            rows(ScriptedChatModel(domain="tool_use", wrong_answer=rate), skill=skill) for rate in (0, 1)
        )
        for one, other in zip(sound, spoilt, strict=True):
            assert {**one, "answer": ""} == {**other, "answer": ""}
            assert right(one) and not right(other)
        assert all(DOMAIN.vet([made(row) for row in spoilt], None))


def test_copies_are_val_requests_shown_with_their_tools() -> None:
    shown = [error("clock_time", index) for index in range(3)]
    model = ScriptedChatModel(domain="tool_use", copied=1)
    found = rows(model, skill="clock_time", errors=shown)
    assert {row["question"] for row in found} <= {each["question"] for each in shown}
    assert all(right(row) and len(row["tools"]) >= 2 for row in found)
    strange = rows(model, errors=[error("clock_time", question=STRANGE)], count=3)
    assert {row["question"] for row in strange} == {STRANGE}
