"""Two planners side by side, a judge with a prompt of its own, and a filter that asks the student.

python examples/teachers/debate.py
cd examples/teachers
dataenvgym check debate.py:graph --set structure=skill_list --prompts prompts
dataenvgym run --teacher debate.py:graph --prompts prompts --set structure=skill_list --set student.name=tiny
"""

import asyncio
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

import dataenvgym
from dataenvgym import ask, planned, recall, remember, student_scores
from dataenvgym.envs.types import Ref, Rejected, Verdict
from dataenvgym.graphs.files import generated_of, observation_of, plans_of, rejected_of, save
from dataenvgym.graphs.state import TeacherState

PROMPTS = Path(__file__).parent / "prompts"


class DebateState(TeacherState, total=False):
    """The two plans; each key is written by one planner."""

    by_error: Ref
    by_model: Ref


class Choice(BaseModel):
    """The judge's reply."""

    plan: Literal["by_error", "by_model"]
    reason: str


async def judge(state, runtime):
    """Ask a model which plan to carry out; it is told what came of its earlier choices."""
    observation = await asyncio.to_thread(observation_of, state)
    before = await asyncio.to_thread(recall, state, "choices", [])
    if before and observation.reward is not None:
        before[-1]["gain"] = observation.reward
    plans = await asyncio.to_thread(plans_of, state, "by_error", "by_model")
    shown = [{"name": name, "requests": [r.model_dump() for r in plan.requests]} for name, plan in plans.items()]
    (choice, *_) = await ask(runtime, state, "judge_plans", Choice, plans=shown, before=before)
    await asyncio.to_thread(remember, state, "choices", [*before, {"plan": choice.plan, "gain": 0.0}])
    return await asyncio.to_thread(planned, state, plans[choice.plan])


async def drop_known(state, runtime):
    """Reject the new rows that the student answers already."""
    rows = await asyncio.to_thread(generated_of, state)
    scores = await student_scores(runtime, state, rows)
    known = [row for row, score in zip(rows, scores, strict=True) if score.correct]
    verdict = Verdict(check="known", passed=False, reason="the student answers it already")
    rejected = [*rejected_of(state), *(Rejected(row=row.model_dump(), verdicts=[verdict]) for row in known)]
    left = [row for row in rows if row not in known]
    turn = state["round"]
    return {
        "generated": await asyncio.to_thread(save, state, f"unknown-{turn}", left),
        "rejected": await asyncio.to_thread(save, state, f"rejected-{turn}-known", rejected),
    }


graph = dataenvgym.build_teacher("skill_list", DebateState)
for name, policy in (("by_error", "weakest_first"), ("by_model", "llm")):
    graph.add_node(f"plan_{name}", dataenvgym.planner(policy, key=name))
    graph.add_edge("read_feedback", f"plan_{name}")
dataenvgym.disconnect(graph, "read_feedback", "plan_data")
dataenvgym.replace_node(graph, "plan_data", judge)
graph.add_edge(["plan_by_error", "plan_by_model"], "plan_data")
dataenvgym.insert_after(graph, "generate_data", "drop_known", drop_known)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    budget = ["budget.iterations=2", "budget.rows_per_iteration=12", f"teacher.prompts={PROMPTS}"]
    outcome = dataenvgym.run(dataenvgym.load_config(None, [*small, *budget]), teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
