"""Replace a node: a data generator that needs no model, for the skills it knows how to write.

python examples/replace_node.py
dataenvgym check examples/replace_node.py:graph --set structure=skill_list
"""

import random

import dataenvgym
from dataenvgym.graphs.files import plan_of, rejected_of, row_for, save


def write_doubles(state, runtime):
    """Rows by program: what the plan asks for, all as doubling problems."""
    plan, turn = plan_of(state), state["round"]
    rng = random.Random(f"{runtime.context.seed}/{state['iteration']}/{turn}")
    rows = []
    for request in plan.requests:
        for number in range(request.count):
            n = rng.randrange(10, 10_000)
            working = f"{n} + {n} = {2 * n}"
            question = f"What is {n} + {n}?"
            rows.append(row_for(state, request, number, question=question, solution=working, answer=str(2 * n)))
    return {
        "generated": save(state, f"generated-{turn}", rows),
        "rejected": save(state, f"rejected-{turn}-reply", rejected_of(state)),
        "stopped": None,
    }


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.replace_node(graph, "generate_data", write_doubles)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=12"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
