"""Insert a node: a critic between plan and generate, which takes small change out of the plan.

python examples/insert_critic.py
dataenvgym check examples/insert_critic.py:graph --set structure=skill_list
"""

import asyncio

import dataenvgym
from dataenvgym.graphs.files import plan_of, save

FEWEST = 3


async def critic(state, runtime):
    """Requests of fewer than three rows teach little: their rows go to the largest request."""
    plan = await asyncio.to_thread(plan_of, state)
    kept = [request for request in plan.requests if request.count >= FEWEST]
    if not kept:
        return {}
    spare = sum(request.count for request in plan.requests) - sum(request.count for request in kept)
    largest = max(kept, key=lambda request: request.count)
    kept[kept.index(largest)] = largest.model_copy(update={"count": largest.count + spare})
    edited = plan.model_copy(update={"requests": kept, "notes": f"the critic moved {spare} rows"})
    return {"plan": await asyncio.to_thread(save, state, "plan-criticised", [edited])}


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(graph, "plan_data", "critic", critic)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=30"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
