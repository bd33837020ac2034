"""A teacher that remembers what worked: rows go where a row has raised the accuracy most so far.

python examples/teachers/what_worked.py
dataenvgym run --teacher examples/teachers/what_worked.py:graph --set structure=skill_list --set student.name=tiny
"""

import asyncio

import dataenvgym
from dataenvgym import planned, recall, remember
from dataenvgym.agents.policies.budget import split
from dataenvgym.envs.types import DataRequest, Plan
from dataenvgym.graphs.files import feedback_of

HOPE = 0.01
"""Gain per row of a skill that has had no rows yet, and the least that any skill is credited with."""


async def plan_by_what_worked(state, runtime):
    """Rows in proportion to the room that a skill has times the gain that its rows have brought."""
    feedback = await asyncio.to_thread(feedback_of, state)
    before = await asyncio.to_thread(recall, state, "gains", {})
    gains = {}
    for skill in feedback.skills:
        last = before.get(skill.name, {"accuracy": skill.accuracy, "rows": 0, "gain": None})
        rows = skill.rows - last["rows"]
        gain = (skill.accuracy - last["accuracy"]) / rows if rows else last["gain"]
        gains[skill.name] = {"accuracy": skill.accuracy, "rows": skill.rows, "gain": gain}
    await asyncio.to_thread(remember, state, "gains", gains)
    hopes = [
        HOPE if gains[s.name]["gain"] is None else max(HOPE / 4, gains[s.name]["gain"]) for s in feedback.skills
    ]
    counts = split(
        feedback.budget, [hope * (1 - s.accuracy) for hope, s in zip(hopes, feedback.skills, strict=True)]
    )
    requests = [
        DataRequest(
            id=f"r{number}", skill=skill.name, count=count, reason=f"{1000 * hope:.1f} points per 10 rows so far"
        )
        for number, (skill, count, hope) in enumerate(zip(feedback.skills, counts, hopes, strict=True))
        if count
    ]
    return await asyncio.to_thread(planned, state, Plan(policy="what_worked", requests=requests))


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.replace_node(graph, "plan_data", plan_by_what_worked)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=3", "budget.rows_per_iteration=12"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
