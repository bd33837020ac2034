"""What the episode graph costs: checkpoint size and time per node, against the same work as plain calls.

A student and a teacher that do next to nothing, so that what is left is the graph, its checkpoints and the
files of the run. Run it from the repository: python benchmarks/graph.py [--iterations 10] [--rows 2000]
The last line is one JSON object: {"checkpoint_bytes": ..., "ms_per_node": ..., "ratio_to_plain_calls": ...}.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from rich.console import Console
from rich.table import Table

from dataenvgym.envs.config import StudentConfig
from dataenvgym.envs.store import Store
from dataenvgym.envs.students import STUDENTS, StudentSpec, TrainSummary
from dataenvgym.envs.types import DataRequest, Example, Plan, Provenance, Row
from dataenvgym.graphs import episode, resources
from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState
from dataenvgym.runs.run import run


class IdleStudent:
    """Knows nothing, learns nothing, takes no time."""

    base_key = generation_key = "idle"

    def predict(self, prompts: Sequence[str], images: Any = None, progress: Any = None) -> list[str]:
        return ["no idea"] * len(prompts)

    def train(self, examples: Sequence[Example], out: Path, **_: Any) -> TrainSummary:
        out.mkdir(parents=True)
        (out / "train.json").write_text("{}")
        return TrainSummary(rows=len(examples), steps=0, seconds=0.0, tokens=0, final_loss=0.0)

    def load(self, adapter: Path | None) -> None:
        """Holds nothing."""

    def close(self) -> None:
        """Holds nothing."""


def make_idle(config: StudentConfig, report: Any) -> IdleStudent:
    return IdleStudent()


def write_rows(state: TeacherState, rows: int) -> TeacherState:
    """A plan and so many rows, in the files of the run."""
    store, iteration = Store(Path(state["run_dir"])), state["iteration"]
    source = Provenance(iteration=iteration, request="r0", model="none", prompt="none", prompt_hash="0")
    made = [
        Row(
            id=f"{iteration}-{n}",
            question=f"What is {iteration} + {n}?",
            solution=f"{iteration} + {n} = {iteration + n}",
            answer=str(iteration + n),
            skill="addition",
            provenance=source,
        )
        for n in range(rows)
    ]
    plan = Plan(policy="none", requests=[DataRequest(id="r0", skill="addition", count=rows)])
    folder = f"iterations/{iteration:03d}"
    return {
        "plan": store.save(f"{folder}/plan.jsonl", [plan]),
        "accepted": store.save(f"{folder}/accepted.jsonl", made),
        "rejected": store.save(f"{folder}/rejected.jsonl", []),
    }


def teacher(rows: int) -> StateGraph[TeacherState, EpisodeConfig, TeacherInput, TeacherOutput]:
    """A teacher graph of one node that writes so many rows."""

    def write(state: TeacherState) -> TeacherState:
        return write_rows(state, rows)

    graph = StateGraph(
        TeacherState, context_schema=EpisodeConfig, input_schema=TeacherInput, output_schema=TeacherOutput
    )
    graph.add_node("write_rows", write)
    graph.add_edge(START, "write_rows")
    graph.add_edge("write_rows", END)
    return graph


async def plain(config: EpisodeConfig, run_dir: Path, rows: int) -> int:
    """The episode's nodes called one after another, without a graph; returns how many were called."""
    runtime = Runtime(context=config)
    state: dict[str, Any] = {"run_dir": str(run_dir)}
    called = 0

    async def call(node: Any) -> None:
        nonlocal called
        found = await node(state, runtime)
        steps = [*state.get("steps", []), *found.get("steps", [])]
        state.update({**found, "steps": steps})
        called += 1

    await call(episode.reset)
    while not state.get("stop_reason"):
        state.update(await asyncio.to_thread(write_rows, state, rows))  # type: ignore[arg-type]
        called += 2  # the graph has a node `teach`, and one inside it
        await call(episode.train)
        await call(episode.evaluate)
    await call(episode.finish)
    return called


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rows", type=int, default=2000, help="per iteration")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    STUDENTS["idle"] = StudentSpec("idle", "for benchmarks", make_idle)
    console = Console()
    table = Table(
        "rows per iteration", "nodes", "plain calls s", "graph s", "ratio", "ms per node", "checkpoint bytes"
    )
    sizes = dict.fromkeys((1, asked.rows))
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATAENVGYM_CACHE"] = str(folder / "cache")
        for rows in sizes:
            settings = ("student.name=idle", "structure=open_ended", "task.val_size=1", "task.test_size=1")
            budget = (f"budget.iterations={asked.iterations}", f"budget.rows_per_iteration={rows}")
            config = load_config(None, [*settings, *budget])
            asyncio.run(plain(config, folder / f"warm-{rows}", rows))
            seconds: dict[str, list[float]] = {"plain": [], "graph": []}
            for turn in range(asked.repeat):
                began = time.perf_counter()
                nodes = asyncio.run(plain(config, folder / f"plain-{rows}-{turn}", rows))
                seconds["plain"].append(time.perf_counter() - began)
                run_dir = folder / f"graph-{rows}-{turn}"
                began = time.perf_counter()
                run(config, run_dir, teacher=teacher(rows))
                seconds["graph"].append(time.perf_counter() - began)
            size = sum(path.stat().st_size for path in run_dir.glob("checkpoints.sqlite*"))
            calls, graph = statistics.median(seconds["plain"]), statistics.median(seconds["graph"])
            found = {
                "checkpoint_bytes": size,
                "ms_per_node": round(1000 * (graph - calls) / nodes, 2),
                "ratio_to_plain_calls": round(graph / calls, 3),
            }
            ratio, each = f"{found['ratio_to_plain_calls']:.3f}", f"{found['ms_per_node']:.2f}"
            table.add_row(str(rows), str(nodes), f"{calls:.2f}", f"{graph:.2f}", ratio, each, f"{size:,}")
    resources.close_all()
    console.print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
