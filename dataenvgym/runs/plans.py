"""The plan that waits for approval, and the plan that a person writes instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import DataError, RunFolderError, UnknownNameError
from dataenvgym.envs.text import counted

if TYPE_CHECKING:
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.types import Plan

# The plan in the iteration's folder, for a person to edit; it is never overwritten.
EDITABLE = "plan-to-edit.yaml"


def open_question(run_dir: Path) -> dict[str, Any] | None:
    """Read the `question` and `plan` that wait for a person's answer; None when the run waits for nobody.

    Raises:
        RunFolderError: not a run, in use by another process, or damaged.
    """
    from dataenvgym.agents.llm.loops import run_now
    from dataenvgym.runs.folder import CHECKPOINTS, locked, open_run, readable
    from dataenvgym.runs.run import THREAD, episode_graph

    config, checkpoints = open_run(run_dir), run_dir / CHECKPOINTS

    async def read() -> dict[str, Any] | None:
        async with episode_graph(checkpoints, config) as graph:
            asked = (await graph.aget_state(THREAD)).interrupts
        return dict(asked[0].value) if asked else None

    with locked(run_dir), readable(checkpoints):
        return run_now(read()) if checkpoints.is_file() else None


def latest_observation(run_dir: Path) -> Observation:
    """Read the observation of the run's current iteration.

    Raises:
        RunFolderError: there is none yet, or its file cannot be read.
    """
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import read_jsonl

    found = sorted(run_dir.glob("iterations/*/observation.jsonl"))
    if not found:
        raise RunFolderError(f"{run_dir} has no observation yet; continue it: dataenvgym resume {run_dir}")
    return read_jsonl(found[-1], Observation)[0]


def read_plan(path: Path, observation: Observation, asked: Plan | None = None) -> Plan:
    """Read and check a plan that a person wrote in YAML or JSON.

    Only the requests are required, as a list or under `requests`, without `id`; the rest comes from `asked`. In
    the skill tree the allocations in `actions` are adapted to the requests.

    Args:
        path: the file.
        observation: the observation of the plan's iteration, with its budget, skills and instances.
        asked: the plan that this one replaces.

    Raises:
        DataError: not a plan, more rows than the budget or none, an unknown skill or exemplar; the text says
            which and what is allowed.
    """
    from pydantic import ValidationError

    from dataenvgym.envs.errors import TeacherError
    from dataenvgym.graphs.teacher import approved

    data = _complete(_parse(path), asked)
    try:
        plan = approved({"plan": data})
    except TeacherError as error:
        cause = error.__cause__
        faults = cause.errors() if isinstance(cause, ValidationError) else []
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}, got {e['input']!r}" for e in faults]
        raise DataError("\n".join([f"{path} is not a plan:", *lines])) from error
    if plan is None:
        raise DataError(f"{path} is not a plan")
    faults_found = list(_faults(plan, observation, asked))
    if faults_found:
        raise DataError("\n".join([f"{path} cannot be generated:", *(f"  {fault}" for fault in faults_found)]))
    return plan if plan == asked else _align(plan, observation)


def write_editable(plan: Plan, observation: Observation, run_dir: Path) -> Path:
    """Write the plan as YAML into its iteration's folder, for a person to edit; keep an existing file."""
    import yaml

    from dataenvgym.envs.store import Store, write_bytes

    path = run_dir / Store.iteration(observation.iteration, EDITABLE)
    if not path.is_file():
        skills = ", ".join(_skills(observation, plan) or ["any, written freely"])
        most = counted(observation.budget, "row")
        head = f"# The plan of iteration {observation.iteration}. At most {most} in total.\n"
        # The actions of the skill tree follow from the requests: see _align.
        text = yaml.safe_dump(plan.model_dump(exclude={"actions"}), sort_keys=False, allow_unicode=True, width=110)
        write_bytes(path, f"{head}# Skills: {skills}\n{text}".encode())
    return path


def _parse(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}). Expected yes, no, edit or a file.") from error
    with suppress(ValueError):
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: neither YAML nor JSON: {error}") from error


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
    skills = _skills(observation, asked)
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


def _skills(observation: Observation, asked: Plan | None) -> list[str]:
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
    from dataenvgym.envs.types import SkillAction

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
