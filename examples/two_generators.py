"""Two generators in parallel and their rows merged: a graph of its own in the place of one node.

python examples/two_generators.py
dataenvgym check examples/two_generators.py:graph --set structure=skill_list
dataenvgym graph examples/two_generators.py:graph
"""

import random
from pathlib import Path

from langgraph.graph import END, START, StateGraph

import dataenvgym
from dataenvgym.envs.store import Store
from dataenvgym.envs.types import Ref, Rejected, Row
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.files import plan_of, row_for, save
from dataenvgym.graphs.state import TeacherState
from dataenvgym.graphs.teacher import generate_data


class BothState(TeacherState, total=False):
    """What the two leave; each key is written by one of them."""

    asked: Ref
    asked_rejected: Ref
    computed: Ref


async def ask(state, runtime):
    """The usual generator, which asks the model."""
    found = await generate_data(state, runtime)
    return {"asked": found["generated"], "asked_rejected": found["rejected"], "stopped": found["stopped"]}


def compute(state, runtime):
    """Sums of round numbers by program, half of each request for addition."""
    rng, turn, rows = random.Random(f"{runtime.context.seed}/{state['round']}"), state["round"], []
    for request in plan_of(state).requests:
        for number in range(request.count // 2 if request.skill == "addition" else 0):
            a, b = (10 * rng.randrange(1, 100) for _ in range(2))
            working = f"{a} + {b} = {a + b}"
            question = f"What is {a} + {b}?"
            rows.append(row_for(state, request, number, question=question, solution=working, answer=str(a + b)))
    return {"computed": save(state, f"computed-{turn}", rows)}


def merge(state, runtime):
    """The computed rows, then the model's, as many of each request as were asked for."""
    store, turn = Store(Path(state["run_dir"])), state["round"]
    rows = [*store.read(state["computed"], Row), *store.read(state["asked"], Row)]
    left = {request.id: request.count for request in plan_of(state).requests}
    kept = []
    for row in rows:
        left[row.provenance.request] -= 1
        if left[row.provenance.request] >= 0:
            kept.append(row)
    rejected = store.read(state["asked_rejected"], Rejected)
    return {
        "generated": save(state, f"merged-{turn}", kept),
        "rejected": save(state, f"merged-rejected-{turn}", rejected),
    }


both = StateGraph(BothState, context_schema=EpisodeConfig, input_schema=TeacherState, output_schema=TeacherState)
both.add_node("ask", ask)
both.add_node("compute", compute)
both.add_node("merge", merge)
both.add_edge(START, "ask")
both.add_edge(START, "compute")
both.add_edge(["ask", "compute"], "merge")
both.add_edge("merge", END)

graph = dataenvgym.build_teacher("skill_list")
dataenvgym.replace_node(graph, "generate_data", both.compile())

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=24"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
