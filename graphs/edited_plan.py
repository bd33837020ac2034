"""A plan that a person writes in the place of the planner's: read, checked and fitted to the forest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from dataenvgym.envs.errors import DataError, TeacherError, UnknownNameError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Plan, SkillAction


def answered(answer: Any, observation: Observation, asked: Plan) -> Plan | None:
    """Read a person's answer to `approve_plan`: None for a plain yes, else the edited plan.

    Args:
        answer: "yes", or an edited plan as for `plan_from`.
        observation: the observation of the plan's iteration.
        asked: the plan in question.

    Raises:
        TeacherError: a refusal, or a plan that cannot be generated; the text says why.
    """
    if not isinstance(answer, dict | list):
        if answer in (True, "yes", "y"):
            return None
        raise TeacherError("approve_plan: the plan was refused. Answer 'yes' or an edited plan to continue.")
    try:
        return plan_from(answer, observation, asked, "approve_plan: the edited plan")
    except DataError as error:
        raise TeacherError(str(error)) from error


def plan_from(data: Any, observation: Observation, asked: Plan | None, source: str) -> Plan:
    """Check a plan that a person wrote.

    Only the requests are required, as a list or under `requests`, without `id`; the rest comes from `asked`. In
    the skill tree the allocations in `actions` are adapted to the requests.

    Args:
        data: the plan, or a mapping with one under `plan`.
        observation: the observation of the plan's iteration, with its budget, skills and instances.
        asked: the plan that this one replaces; None: there is none.
        source: what the text of an error calls the plan, e.g. its file.

    Raises:
        DataError: not a plan, more rows than the budget or none, an unknown skill or exemplar; the text says
            which and what is allowed.
    """
    try:
        plan = Plan.model_validate(_complete(data, asked))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}, got {e['input']!r:.200}"
            for e in error.errors()
        ]
        raise DataError("\n".join([f"{source} is not a plan:", *lines])) from error
    faults = list(_faults(plan, observation, asked))
    if faults:
        raise DataError("\n".join([f"{source} cannot be generated:", *(f"  {fault}" for fault in faults)]))
    return plan if plan == asked else _align(plan, observation)


def _complete(data: Any, asked: Plan | None) -> Any:
    """Add the parts that a person may leave out; the schema check rejects anything that is not a plan."""
    rest = {"policy": "edited"} if asked is None else asked.model_dump(exclude={"requests"})
    if isinstance(data, dict) and "plan" in data:
        data = data["plan"]
    if isinstance(data, list):
        data = {"requests": data}
    if not isinstance(data, dict) or not isinstance(data.get("requests"), list):
        return data
    taken = {request.get("id") for request in data["requests"] if isinstance(request, dict)}
    free = (name for name in (f"r{number}" for number in range(10**9)) if name not in taken)
    requests = [
        {"id": next(free), **request} if isinstance(request, dict) and "id" not in request else request
        for request in data["requests"]
    ]
    return {**rest, **data, "requests": requests}


def _faults(plan: Plan, observation: Observation, asked: Plan | None) -> Iterator[str]:
    """Yield the reasons why a plan cannot be generated."""
    rows, budget = sum(request.count for request in plan.requests), observation.budget
    if rows > budget:
        yield f"the plan asks for {counted(rows, 'row')}; iteration {observation.iteration} may have {budget}"
    if not rows:
        yield "the plan asks for no rows; to generate nothing, answer no"
    ids = [request.id for request in plan.requests]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"two requests have the id {name!r}; leave it out to get a new one"
    skills = skills_of(observation, asked)
    instances = {item.id for item in observation.predictions} | {item.id for item in observation.exemplars}
    instances |= {name for request in asked.requests for name in request.exemplars} if asked else set()
    for request in plan.requests:
        if not request.skill.strip():
            yield f"request {request.id!r} names no skill"
        elif skills and request.skill not in skills:
            yield str(UnknownNameError("skill", request.skill, skills))
        for name in request.exemplars:
            if name not in instances:
                yield f"request {request.id!r}: no instance {name!r} was observed"


def skills_of(observation: Observation, asked: Plan | None) -> list[str]:
    """List the skills that a plan may request; empty: any, since an open-ended plan names them freely."""
    if observation.structure == "open_ended":
        return []
    named = [request.skill for request in asked.requests] if asked else []
    return sorted({*(skill.name for skill in observation.skills), *named})


def _align(plan: Plan, observation: Observation) -> Plan:
    """Adapt the actions of the skill tree to the edited requests.

    The forest is computed from the actions (envs/observation.py), the rows from the requests. If they differed,
    the next plan would count rows that a person removed as missing, and request them again.
    """
    if observation.structure != "skill_tree":
        return plan
    leaves = {(skill.name, leaf.name): leaf for skill in observation.skills for leaf in skill.subskills}
    asked: dict[str, dict[str, int]] = {action.skill: {} for action in plan.actions}
    for request in plan.requests:
        if request.subskill:
            counts = asked.setdefault(request.skill, {})
            counts[request.subskill] = counts.get(request.subskill, 0) + request.count
    given = {action.skill: action for action in plan.actions}
    actions = []
    for skill, counts in asked.items():
        action = given.get(skill)
        deltas = dict(action.deltas) if action else {}
        for name in {**deltas, **counts}:
            leaf = leaves.get((skill, name))
            short = leaf.allocation - leaf.rows if leaf else 0
            if counts.get(name, 0) != max(0, short + deltas.get(name, 0)):
                deltas[name] = counts.get(name, 0) - short
        deltas = {name: delta for name, delta in deltas.items() if delta}
        if action is None:
            kind = "exploit" if all((skill, name) in leaves for name in deltas) else "explore"
            action = SkillAction(skill=skill, kind=kind, reason="edited by a person")
        grown = {"new_subskills": len(deltas), "rows_each": max([0, *deltas.values()])}
        update = {"deltas": deltas, **(grown if action.kind == "explore" else {})}
        if deltas or not (action.deltas or action.kind == "explore"):  # an action with nothing left is dropped
            actions.append(action.model_copy(update=update))
    return plan.model_copy(update={"actions": actions})
