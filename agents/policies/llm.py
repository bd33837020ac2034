"""`llm`: the model plans."""

from __future__ import annotations

from collections.abc import Sequence

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.schemas import ActionItem, RequestItem
from dataenvgym.agents.policies.budget import within
from dataenvgym.agents.policies.forest import exploit, explore, tree_plan
from dataenvgym.agents.policies.registry import policy
from dataenvgym.envs.errors import TeacherError
from dataenvgym.envs.types import DataRequest, Plan, SkillAction


@policy("llm", "open_ended", "skill_list", summary="the model reads the errors and writes the requests")
async def plan_with_llm(feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """The model writes data requests from the errors (open_ended) or per skill (skill_list)."""
    if feedback.skills:
        prompt = client.prompt(
            "plan_skill_list",
            budget=feedback.budget,
            history=_dump(feedback.history),
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
        )
    answer = await client.items(prompt, RequestItem)
    wanted = [item for item in answer.valid if item.count > 0]
    if not wanted:
        reasons = "; ".join(f.reason for f in answer.failures[:3]) or "it asked for no rows"
        raise TeacherError(f"the planner's model gave no data request after {answer.attempts} attempts: {reasons}")
    counts = within(feedback.budget, [item.count for item in wanted])
    shown = {e.id for e in feedback.errors}
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
        max_subskills=config.max_subskills,
    )
    answer = await client.items(prompt, ActionItem)
    by_name = {s.name: s for s in feedback.skills}
    chosen = {item.skill: item for item in answer.valid if item.skill in by_name}
    actions: list[SkillAction] = []
    rows: dict[str, int] = {}
    for name, item in chosen.items():
        skill = by_name[name]
        room = config.max_subskills - len(skill.subskills)
        if item.kind == "explore" and room > 0 and item.new_subskills and item.rows_each:
            new = min(item.new_subskills, room)
            rows[name] = new * item.rows_each
            actions.append(explore(name, new, rows[name], item.reason))
        elif item.kind == "exploit":
            deltas = {d.name: d.delta for d in item.subskills}
            actions.append(exploit(skill, [deltas.get(s.name, 0) for s in skill.subskills], item.reason))
    if not actions:
        raise TeacherError(f"the planner's model chose no usable action after {answer.attempts} attempts")
    return await tree_plan("llm", actions, rows, feedback, client)


def _dump(models: Sequence[object]) -> list[dict[str, object]]:
    return [m.model_dump() for m in models]  # type: ignore[attr-defined]
