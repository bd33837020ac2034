"""Swap the policy: all rows to the single weakest skill.

python examples/own_policy.py
dataenvgym check examples/own_policy.py:graph --set structure=skill_list
"""

import dataenvgym
from dataenvgym.envs.types import DataRequest, Plan


async def plan_worst_only(feedback, client, seed):
    """One request. `feedback.skills` has name, accuracy, n, rows and reward of each skill."""
    worst = min(feedback.skills, key=lambda skill: (skill.accuracy or 0.0, skill.name))
    shown = [error.id for error in feedback.errors if error.skill == worst.name]
    request = DataRequest(id="r0", skill=worst.name, count=feedback.budget, reason="the weakest", exemplars=shown)
    return Plan(policy="worst_only", requests=[request])


worst_only = dataenvgym.Policy("worst_only", "all rows to the weakest skill", ("skill_list",), plan_worst_only)
graph = dataenvgym.build_teacher("skill_list")
dataenvgym.replace_node(graph, "plan_data", dataenvgym.planner(worst_only))

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=12"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
