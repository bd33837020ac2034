"""What the policies of the skill tree share: from explore and exploit to a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dataenvgym.agents.feedback_reader import ErrorExample, Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.schemas import SubskillItem
from dataenvgym.agents.policies.budget import split, within
from dataenvgym.envs.observation import SkillState
from dataenvgym.envs.types import DataRequest, Plan, SkillAction


async def plan_by_shares(
    policy: str,
    feedback: Feedback,
    client: TeacherClient,
    *,
    shares: Sequence[int],
    explores: Sequence[bool],
    reasons: Sequence[str],
    filling: str | None = None,
) -> Plan:
    """The plan that gives each skill its share of the rows.

    A skill explores if it is told to and has room, or has no subskill yet; otherwise it exploits, evenly over its
    subskills.

    Args:
        shares: rows per skill.
        explores: per skill, whether it is told to explore.
        reasons: per skill, the reason of its action.
        filling: the reason of every skill that exploits; None: that of `reasons`.
    """
    config, actions = client.config, []
    for skill, share, explore_now, reason in zip(feedback.skills, shares, explores, reasons, strict=True):
        room = config.max_subskills - len(skill.subskills)
        if share and room > 0 and (explore_now or not skill.subskills):
            actions.append(explore(skill.name, min(config.new_subskills, room, share), share, reason))
        elif share:
            actions.append(exploit(skill, split(share, [1.0] * len(skill.subskills)), filling or reason))
    return await tree_plan(policy, actions, by_name(feedback.skills, shares), feedback, client)


async def tree_plan(
    policy: str, actions: Sequence[SkillAction], rows: Mapping[str, int], feedback: Feedback, client: TeacherClient
) -> Plan:
    """Names the new subskills and turns actions into requests: what each subskill is short of its allocation.

    `rows`: per skill that explores, the rows for its new subskills together. Where all that is short is over
    the budget, the requests are scaled down and the deltas with them: the forest never promises more rows than
    are there or asked for.
    """
    named = await asyncio.gather(*(_name_subskills(a, rows.get(a.skill, 0), feedback, client) for a in actions))
    states = {s.name: s for s in feedback.skills}
    wanted: list[tuple[str, str, int, str]] = []
    for action in named:
        leaves = {s.name: s for s in states[action.skill].subskills}
        for subskill in action.deltas if action.kind == "explore" else {**leaves, **action.deltas}:
            leaf = leaves.get(subskill)
            allocation = max(0, (leaf.allocation if leaf else 0) + action.deltas.get(subskill, 0))
            short = allocation - (leaf.rows if leaf else 0)
            if short > 0:
                wanted.append((action.skill, subskill, short, action.reason))
    counts = within(feedback.budget, [short for *_, short, _ in wanted])
    requests = [
        DataRequest(
            id=f"r{number}",
            skill=skill,
            subskill=subskill,
            count=count,
            reason=reason,
            exemplars=errors_of(feedback.errors, skill),
        )
        for number, ((skill, subskill, _, reason), count) in enumerate(zip(wanted, counts, strict=True))
        if count
    ]
    cut = {(w[0], w[1]): w[2] - count for w, count in zip(wanted, counts, strict=True)}
    return Plan(policy=policy, requests=requests, actions=[_trim_to_budget(action, cut) for action in named])


def _trim_to_budget(action: SkillAction, cut: Mapping[tuple[str, str], int]) -> SkillAction:
    """The action without the rows that the budget had no room for."""
    names = [*action.deltas, *(sub for skill, sub in cut if skill == action.skill and sub not in action.deltas)]
    deltas = {n: action.deltas.get(n, 0) - cut.get((action.skill, n), 0) for n in names}
    deltas = {name: delta for name, delta in deltas.items() if delta}
    if action.kind == "exploit":
        return action.model_copy(update={"deltas": deltas})
    each = max(deltas.values(), default=0)
    return action.model_copy(update={"deltas": deltas, "new_subskills": len(deltas), "rows_each": max(0, each)})


async def _name_subskills(
    action: SkillAction, rows: int, feedback: Feedback, client: TeacherClient
) -> SkillAction:
    """An explore action with its new subskills named by the model; they share the rows evenly."""
    if action.kind != "explore":
        return action
    existing = next(([s.name for s in k.subskills] for k in feedback.skills if k.name == action.skill), [])
    prompt = client.prompt(
        "propose_subskills",
        skill=action.skill,
        count=action.new_subskills,
        existing=existing,
        exemplars=[
            {"id": i.id, "question": i.question, "answer": i.answer}
            for i in feedback.exemplars
            if i.skill in (action.skill, None)
        ][: client.config.exemplars_shown],
    )
    answer = await client.items(prompt, SubskillItem)
    taken = {name.casefold() for name in existing}
    names: list[str] = []
    for item in answer.valid:
        if item.name.casefold() not in taken and len(names) < action.new_subskills:
            taken.add(item.name.casefold())
            names.append(item.name)
    if not names:  # nothing new came: the rows go to the skill as a whole, under its own name
        names = [action.skill]
    return action.model_copy(update={"deltas": dict(zip(names, split(rows, [1.0] * len(names)), strict=True))})


def explore(skill: str, new: int, rows: int, reason: str) -> SkillAction:
    """The action that opens `new` subskills, which share the rows."""
    return SkillAction(
        skill=skill, kind="explore", new_subskills=new, rows_each=max(1, rows // new), reason=reason
    )


def exploit(skill: SkillState, deltas: Sequence[int], reason: str) -> SkillAction:
    """The action that changes the allocations of a skill's subskills."""
    given = {s.name: d for s, d in zip(skill.subskills, deltas, strict=True) if d}
    return SkillAction(skill=skill.name, kind="exploit", deltas=given, reason=reason)


def by_name(skills: Sequence[SkillState], shares: Sequence[int]) -> dict[str, int]:
    """Rows by the name of their skill."""
    return {skill.name: share for skill, share in zip(skills, shares, strict=True)}


def errors_of(errors: Sequence[ErrorExample], skill: str) -> list[str]:
    """The ids of a skill's errors."""
    return [e.id for e in errors if e.skill == skill]
