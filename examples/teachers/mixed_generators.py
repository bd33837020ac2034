"""Three generators side by side; each gets rows to write in proportion to how many of its rows passed the checks.

python examples/teachers/mixed_generators.py
cd examples/teachers
dataenvgym run --teacher mixed_generators.py:graph --set structure=skill_list --set student.name=tiny
"""

import asyncio

import dataenvgym
from dataenvgym import merged, planned, recall, remember
from dataenvgym.agents.policies.budget import split
from dataenvgym.envs.types import Ref
from dataenvgym.graphs.files import accepted_of, plan_of, rejected_of
from dataenvgym.graphs.state import TeacherState

# What each generator is shown of the feedback. A request that ends in its name is written by it.
GENERATORS = {
    "by_error": lambda feedback: feedback,
    "by_example": lambda feedback: feedback.model_copy(update={"errors": [], "diagnoses": []}),
    "by_name": lambda feedback: feedback.model_copy(update={"errors": [], "diagnoses": [], "exemplars": []}),
}


class MixedState(TeacherState, total=False):
    """What each generator leaves: its rows, and what failed."""

    by_error: Ref
    by_error_rejected: Ref
    by_example: Ref
    by_example_rejected: Ref
    by_name: Ref
    by_name_rejected: Ref


def generator_of(request):
    """The name of the generator that a request, or the row of one, belongs to."""
    return request.rpartition("-")[2]


async def divide(state, runtime):
    """Divide each request among the generators."""
    counts = await asyncio.to_thread(recall, state, "acceptance", {})
    seen = {name: counts.get(name, {"accepted": 0, "rejected": 0}) for name in GENERATORS}
    rates = [(one["accepted"] + 1) / (one["accepted"] + one["rejected"] + 2) for one in seen.values()]
    plan = await asyncio.to_thread(plan_of, state)
    requests = [
        request.model_copy(update={"id": f"{request.id}-{name}", "count": count})
        for request in plan.requests
        for name, count in zip(GENERATORS, split(request.count, rates), strict=True)
        if count
    ]
    told = ", ".join(f"{name} {rate:.2f}" for name, rate in zip(GENERATORS, rates, strict=True))
    note = f"{plan.notes} Share of rows that pass: {told}.".strip()
    return await asyncio.to_thread(planned, state, plan.model_copy(update={"requests": requests, "notes": note}))


async def merge(state, runtime):
    """Put the rows of the three together."""
    return await asyncio.to_thread(merged, state, *GENERATORS)


async def measure(state, runtime):
    """Count what passed, and remember it with what earlier iterations gave."""
    before = await asyncio.to_thread(recall, state, "acceptance", {})
    counts = {name: dict(before.get(name, {"accepted": 0, "rejected": 0})) for name in GENERATORS}
    for row in await asyncio.to_thread(accepted_of, state):
        counts[generator_of(row.provenance.request)]["accepted"] += 1
    for record in await asyncio.to_thread(rejected_of, state):
        source = record.row.get("provenance", {}).get("request", record.row.get("request", ""))
        if generator_of(source) in counts:
            counts[generator_of(source)]["rejected"] += 1
    await asyncio.to_thread(remember, state, "acceptance", counts)
    return {}


graph = dataenvgym.build_teacher("skill_list", MixedState)
dataenvgym.insert_after(graph, "plan_data", "divide", divide)
dataenvgym.replace_node(graph, "generate_data", lambda state: {})  # from here the three begin
for name, shown in GENERATORS.items():
    mine = dataenvgym.generator(
        name, only=lambda request, name=name: generator_of(request.id) == name, feedback=shown
    )
    graph.add_node(f"generate_{name}", mine)
    graph.add_edge("generate_data", f"generate_{name}")
graph.add_node("merge", merge)
dataenvgym.disconnect(graph, "generate_data", "verify_data")
graph.add_edge([f"generate_{name}" for name in GENERATORS], "merge")
graph.add_edge("merge", "verify_data")
dataenvgym.insert_after(graph, "verify_data", "measure", measure)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=2", "budget.rows_per_iteration=24"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
