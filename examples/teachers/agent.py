"""An agent as teacher: at each step a model chooses a tool. It looks at errors, has rows written, and submits.

python examples/teachers/agent.py
cd examples/teachers
dataenvgym run --teacher agent.py:graph --prompts prompts --set structure=skill_list --set student.name=tiny
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Literal

from langgraph.graph import END
from pydantic import BaseModel, Field

import dataenvgym
from dataenvgym import ask, planned
from dataenvgym.envs.types import DataRequest, Plan
from dataenvgym.graphs.files import accepted_of, feedback_of, plan_of, rejected_of
from dataenvgym.graphs.state import TeacherState

PROMPTS = Path(__file__).parent / "prompts"
MOST_STEPS = 12
ERRORS_SHOWN = 5


class Step(BaseModel):
    """The agent's next step."""

    tool: Literal["look_at_errors", "write_rows", "submit"]
    skill: str = Field(description="The skill to look at or to write rows of; empty to submit.")
    count: int = Field(6, ge=1, le=200, description="write_rows: how many rows.")
    why: str = ""


class AgentState(TeacherState, total=False):
    """The step that the agent has chosen, and what came of the earlier ones, one text each."""

    step: dict
    log: list[str]


async def agent(state, runtime):
    """Ask the model for the next step. A skill that does not exist is the first one; the last step submits."""
    feedback = await asyncio.to_thread(feedback_of, state)
    log = await asyncio.to_thread(outcome_of, state)
    left = feedback.budget - sum(request.count for request in plan_so_far(state).requests)
    if left <= 0 or len(log) >= MOST_STEPS:
        return {"step": {"tool": "submit"} if plan_so_far(state).requests else everything(feedback), "log": log}
    skills = [skill.model_dump(include={"name", "accuracy", "n"}) for skill in feedback.skills]
    found = await ask(runtime, state, "next_step", Step, sample=len(log), skills=skills, log=log, left=left)
    step = found[0] if found else Step.model_validate(everything(feedback))
    skill = step.skill if step.skill in {one["name"] for one in skills} else skills[0]["name"]
    if step.tool == "submit" and not plan_so_far(state).requests:
        return {"step": {"tool": "nothing"}, "log": [*log, "submit: refused, no row has been written yet"]}
    return {"step": {**step.model_dump(), "skill": skill, "count": min(step.count, left)}, "log": log}


def everything(feedback):
    """The step that writes all rows for the weakest skill."""
    weakest = min(feedback.skills, key=lambda skill: skill.accuracy or 0.0)
    return {"tool": "write_rows", "skill": weakest.name, "count": feedback.budget, "why": "no step was left"}


def plan_so_far(state):
    """The requests written so far, in one plan."""
    return plan_of(state) if state.get("plan") else Plan(policy="agent", requests=[])


def outcome_of(state):
    """The log, and what came of the rows that were written last."""
    log, step = state.get("log") or [], state.get("step") or {}
    if step.get("tool") != "write_rows":
        return log
    last = plan_so_far(state).requests[-1]
    accepted = sum(row.provenance.request == last.id for row in accepted_of(state))
    of_it = [one for one in rejected_of(state) if one.row.get("provenance", {}).get("request") == last.id]
    reasons = Counter(one.verdicts[-1].reason for one in of_it).most_common(2)
    told = "".join(f"; {count} rejected: {reason}" for reason, count in reasons)
    return [*log, f"write_rows {last.count} of {last.skill}: {accepted} passed the checks{told}"]


async def look_at_errors(state, runtime):
    """Show the agent what the student got wrong in a skill."""
    feedback, skill = await asyncio.to_thread(feedback_of, state), state["step"]["skill"]
    shown = [f"Q: {e.question} It said: {e.text}" for e in feedback.errors if e.skill == skill][:ERRORS_SHOWN]
    return {"log": [*state["log"], f"look_at_errors {skill}: {' / '.join(shown) or 'no errors'}"]}


async def write_rows(state, runtime):
    """Add a request to the plan; generator and verifier carry it out."""
    plan, step = await asyncio.to_thread(plan_so_far, state), state["step"]
    request = DataRequest(
        id=f"r{len(plan.requests)}", skill=step["skill"], count=step["count"], reason=step["why"]
    )
    longer = plan.model_copy(update={"requests": [*plan.requests, request]})
    return await asyncio.to_thread(planned, state, longer)


graph = dataenvgym.build_teacher("skill_list", AgentState)
dataenvgym.replace_node(graph, "plan_data", agent)
graph.branches.pop("plan_data"), graph.branches.pop("verify_data")
graph.add_node("look_at_errors", look_at_errors)
graph.add_node("write_rows", write_rows)
tools = {"look_at_errors": "look_at_errors", "write_rows": "write_rows", "submit": END, "nothing": "plan_data"}
graph.add_conditional_edges("plan_data", lambda state: state["step"]["tool"], tools)
graph.add_edge("look_at_errors", "plan_data")
graph.add_edge("write_rows", "generate_data")
graph.add_edge("verify_data", "plan_data")
del graph.nodes["approve_plan"]  # nobody is asked: there is a plan only when all rows are written
graph.edges = {edge for edge in graph.edges if "approve_plan" not in edge}

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    budget = ["budget.iterations=1", "budget.rows_per_iteration=24", f"teacher.prompts={PROMPTS}"]
    outcome = dataenvgym.run(dataenvgym.load_config(None, [*small, *budget]), teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
