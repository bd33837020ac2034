"""`llm`: the model plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Items
from dataenvgym.agents.llm.schemas import ActionItem, RequestItem
from dataenvgym.agents.policies.budget import within
from dataenvgym.agents.policies.forest import exploit, explore, tree_plan
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.errors import TeacherError
from dataenvgym.envs.types import DataRequest, Plan, SkillAction


@policy("llm", "open_ended", "skill_list", summary="the model reads the errors and writes the requests")
async def plan_with_llm(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """The model writes data requests from the errors (open_ended) or per skill (skill_list).

    Without state it plans from problems of the benchmark, and hears nothing of the student.
    """
    if not feedback.state:
        examples = [{"id": i.id, "question": i.question, "answer": i.answer} for i in feedback.examples]
        prompt = client.prompt("plan_without_state", budget=feedback.budget, examples=examples)
    elif feedback.skills:
        prompt = client.prompt(
            "plan_skill_list",
            budget=feedback.budget,
            history=_dump(feedback.history),
            start=feedback.start,
            diagnoses=_dump(feedback.diagnoses),
            skills=[
                {**skill.model_dump(), "errors": _dump([e for e in feedback.errors if e.skill == skill.name])}
                for skill in feedback.skills
            ],
        )
    else:
        prompt = client.prompt(
            "plan_open_ended",
            budget=feedback.budget,
            errors=_dump(feedback.errors),
            examples_correct=feedback.correct,
            n=feedback.n,
            accuracy=feedback.accuracy or 0.0,
            history=_dump(feedback.history),
            start=feedback.start,
            diagnoses=_dump(feedback.diagnoses),
        )

    def useless(items: list[RequestItem]) -> str | None:
        return None if any(item.count > 0 for item in items) else "the plan asks for no rows"

    answer = await client.items(prompt, RequestItem, useless=useless)
    wanted = [item for item in answer.valid if item.count > 0]
    if not wanted:
        raise TeacherError(_no_plan("data request", answer))
    counts = within(feedback.budget, [item.count for item in wanted])
    shown = {e.id for e in feedback.errors} | {e.id for e in feedback.examples}
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=item.skill,
            subskill=item.subskill,
            count=count,
            reason=item.reason,
            exemplars=[i for i in item.exemplars if i in shown],
        )
        for number, (item, count) in enumerate(zip(wanted, counts, strict=True))
        if count
    ]
    return Plan(policy="llm", requests=requests)


@policy("llm", "skill_tree", summary="the model chooses explore or exploit per skill")
async def plan_tree_with_llm(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """The model chooses explore or exploit for each skill."""
    config = client.config
    prompt = client.prompt(
        "plan_skill_tree",
        budget=feedback.budget,
        skills=_dump(feedback.skills),
        history=_dump(feedback.history),
        start=feedback.start,
        diagnoses=_dump(feedback.diagnoses),
        max_subskills=config.max_subskills,
    )
    by_name = {s.name: s for s in feedback.skills}

    def taken(items: Sequence[ActionItem]) -> tuple[list[SkillAction], dict[str, int]]:
        """The actions that can be carried out, and the rows that the explored skills get."""
        actions: list[SkillAction] = []
        rows: dict[str, int] = {}
        for name, item in {item.skill: item for item in items if item.skill in by_name}.items():
            skill = by_name[name]
            room = config.max_subskills - len(skill.subskills)
            if item.kind == "explore" and room > 0 and item.new_subskills and item.rows_each:
                new = min(item.new_subskills, room)
                rows[name] = new * item.rows_each
                actions.append(explore(name, new, rows[name], item.reason))
            elif item.kind == "exploit":
                deltas = {d.name: d.delta for d in item.subskills}
                actions.append(exploit(skill, [deltas.get(s.name, 0) for s in skill.subskills], item.reason))
        return actions, rows

    def useless(items: list[ActionItem]) -> str | None:
        actions, rows = taken(items)
        if not actions:
            return "no action can be carried out: unknown skills, or explorations without room or rows"
        short = [
            leaf.allocation + action.deltas.get(leaf.name, 0) - leaf.rows
            for action in actions
            if action.kind == "exploit"
            for leaf in by_name[action.skill].subskills
        ]
        return None if any(rows.values()) or max(short, default=0) > 0 else "the plan asks for no rows"

    answer = await client.items(prompt, ActionItem, useless=useless)
    actions, rows = taken(answer.valid)
    if not actions:
        raise TeacherError(_no_plan("usable action", answer))
    return await tree_plan("llm", actions, rows, feedback, client)


def _no_plan(what: str, answer: Items[Any]) -> str:
    reasons = "; ".join(dict.fromkeys(failure.reason for failure in answer.failures[-3:])) or "an empty reply"
    return f"the planner's model gave no {what} after {answer.attempts} attempts: {reasons}"


def _dump(models: Sequence[object]) -> list[dict[str, object]]:
    return [m.model_dump() for m in models]  # type: ignore[attr-defined]
