"""A teacher of eight own nodes: checked, killed, resumed, forked, approved and swept.

Two planners side by side, a chair with a prompt and a schema of its own, a board (a graph in the graph, with a key
of its own), an exam by the student, and minutes that are remembered over iterations.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataenvgym.agents.llm.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_processes")]

Cli = Callable[..., tuple[int, str, str]]

COUNCIL = """
import os
import signal
from asyncio import to_thread
from typing import Literal

from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel, Field

import dataenvgym
from dataenvgym import ask, disconnect, planned, planner, recall, remember, student_scores
from dataenvgym.envs.types import DataRequest, Plan, Ref, Rejected, Verdict
from dataenvgym.graphs.files import (
    accepted_of, feedback_of, generated_of, observation_of, plan_of, plans_of, read, rejected_of, save
)
from dataenvgym.graphs.state import TeacherState


class CouncilState(TeacherState, total=False):
    by_error: Ref
    by_memory: Ref


class BoardState(CouncilState, total=False):
    marks: Ref


class Ruling(BaseModel):
    plan: Literal["by_error", "by_memory"]
    sure: int = Field(ge=0, le=10)
    reason: str


class Mark(BaseModel):
    id: str
    mark: int = Field(ge=1, le=5)


def rejecting(state, name, rows, lost):
    verdicts = [Verdict(check=name, passed=False, reason=f"by the {name}")]
    gone = [Rejected(row=row.model_dump(), verdicts=verdicts) for row in rows if row.id in lost]
    turn = state["round"]
    return {
        "generated": save(state, f"generated-{turn}-{name}", [row for row in rows if row.id not in lost]),
        "rejected": save(state, f"rejected-{turn}-{name}", [*rejected_of(state), *gone]),
    }


def plan_by_memory(state, runtime):
    feedback, minutes = feedback_of(state), recall(state, "minutes", [])
    names = [skill.name for skill in feedback.skills][len(minutes):][:3]
    requests = [DataRequest(id=f"m{n}", skill=name, count=feedback.budget // 3) for n, name in enumerate(names)]
    plan = Plan(policy="by_memory", requests=requests, notes=f"{len(minutes)} iterations remembered")
    return planned(state, plan, key="by_memory")


async def chair(state, runtime):
    plans = await to_thread(plans_of, state, "by_error", "by_memory")
    minutes = await to_thread(recall, state, "minutes", [])
    shown = [{"name": name, "requests": [r.model_dump() for r in plan.requests]} for name, plan in plans.items()]
    (ruling, *_) = await ask(runtime, state, "council_ruling", Ruling, plans=shown, minutes=minutes)
    plan = plans[ruling.plan]
    return await to_thread(planned, state, plan.model_copy(update={"policy": f"council_{plan.policy}"}))


async def mark_rows(state, runtime):
    rows = await to_thread(generated_of, state)
    shown = [row.model_dump() for row in rows]
    marks = await ask(runtime, state, "council_marks", Mark, rows=shown) if rows else []
    return {"marks": await to_thread(save, state, f"marks-{state['round']}", marks)}


def cull(state, runtime):
    marks = read(state, state["marks"], Mark)
    return rejecting(state, "board", generated_of(state), {mark.id for mark in marks if mark.mark < 2})


async def exam(state, runtime):
    if os.environ.get("KILLED_IN") == str(state["iteration"]):
        os.kill(os.getpid(), signal.SIGKILL)
    rows = await to_thread(generated_of, state)
    scores = await student_scores(runtime, state, rows)
    known = {row.id for row, score in zip(rows, scores, strict=True) if score.correct}
    return await to_thread(rejecting, state, "exam", rows, known)


def minutes(state, runtime):
    entry = {
        "iteration": state["iteration"],
        "plan": plan_of(state).policy,
        "rows": len(accepted_of(state)),
        "accuracy": observation_of(state).accuracy,
    }
    remember(state, "minutes", [*recall(state, "minutes", []), entry])
    return {}


def council(config):
    board = StateGraph(BoardState, context_schema=dataenvgym.EpisodeConfig, output_schema=CouncilState)
    board.add_node("mark_rows", mark_rows)
    board.add_node("cull", cull)
    board.add_edge(START, "mark_rows")
    board.add_edge("mark_rows", "cull")
    board.add_edge("cull", END)
    graph = dataenvgym.build_teacher("skill_list", CouncilState)
    graph.add_node("plan_by_error", planner("weakest_first", key="by_error"))
    graph.add_node("plan_by_memory", plan_by_memory)
    disconnect(graph, "read_feedback", "plan_data")
    graph.add_edge("read_feedback", "plan_by_error")
    graph.add_edge("read_feedback", "plan_by_memory")
    dataenvgym.replace_node(graph, "plan_data", chair)
    graph.add_edge(["plan_by_error", "plan_by_memory"], "plan_data")
    dataenvgym.insert_after(graph, "generate_data", "board", board.compile())
    dataenvgym.insert_after(graph, "board", "exam", exam)
    dataenvgym.insert_after(graph, "verify_data", "minutes", minutes)
    return graph


graph = council(None)
"""
HEAD = """---
purpose: {purpose}
tool: {tool}
version: 1
variables:
  {variables}
system: You plan training data for a small language model that is learning {{{{ words.learning }}}}.
---
"""
PROMPTS = {
    "council_ruling": HEAD.format(
        purpose="Rule between two plans.", tool="submit_ruling", variables="plans: list\n  minutes: list"
    )
    + "{% for one in minutes %}{{ one.iteration }}: {{ one.plan }}\n{% endfor %}"
    + "{% for plan in plans %}Plan: {{ plan.name }}, {{ plan.requests | length }} requests\n{% endfor %}",
    "council_marks": HEAD.format(purpose="Mark rows.", tool="submit_marks", variables="rows: list")
    + "{% for row in rows %}[{{ row.id }}] Q: {{ row.question }}\n{% endfor %}",
}
CONFIG = {
    "structure": "skill_list",
    "student": {"name": "tiny", "generation": {"max_new_tokens": 4}},
    "task": {"val_size": 1, "test_size": 1},
    "budget": {"iterations": 2, "rows_per_iteration": 12},
    "teacher": {"prompts": "prompts"},
}


@pytest.fixture
def council(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "council.py").write_text(COUNCIL)
    (tmp_path / "prompts" / "shared").mkdir(parents=True)
    for name, text in PROMPTS.items():
        (tmp_path / "prompts" / "shared" / f"{name}.jinja").write_text(text)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def what_came_of(run: Path) -> Any:
    """All that a run has in the end, without times."""
    minutes = json.loads((run / "iterations/002/memory-minutes.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    rows = [line for path in sorted(run.glob("iterations/*/accepted-*.jsonl")) for line in path.open()]
    return minutes, summary["test"], summary["val"], rows


def test_it_is_checked_killed_resumed_and_forked(council: Path, cli: Cli) -> None:
    status, out, err = cli("check", "council.py:graph", "--set", "structure=skill_list", "--prompts", "prompts")
    assert status == 0, err
    assert "board" in out and "keeps the contract" in out
    assert cli("run", "small.yaml", "--teacher", "council.py:graph", "--out", "whole")[0] == 0
    command = [sys.executable, "-m", "dataenvgym.cli", "run", "small.yaml", "--teacher", "council.py:graph"]
    killed = subprocess.run(
        [*command, "--out", "killed"], env={**os.environ, "KILLED_IN": "2"}, capture_output=True, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert cli("resume", "killed")[0] == 0
    assert what_came_of(council / "killed") == what_came_of(council / "whole")
    asked = [Ledger(council / run / "ledger.jsonl").totals().calls for run in ("killed", "whole")]
    assert asked[0] == asked[1], "no call is asked twice"
    nodes = {record.node for record in Ledger(council / "whole" / "ledger.jsonl").records()}
    assert nodes == {"plan_data", "generate_data", "mark_rows"}
    minutes = what_came_of(council / "whole")[0]
    assert [one["iteration"] for one in minutes] == [1, 2]
    assert cli("fork", "whole", "--at", "2", "--out", "forked")[0] == 0
    assert what_came_of(council / "forked") == what_came_of(council / "whole")


def test_its_plans_are_approved_and_it_is_swept_beside_ours(council: Path, cli: Cli) -> None:
    one = ["--set", "budget.iterations=1"]
    cli("run", "small.yaml", "--teacher", "council.py:graph", "--approve", "--out", "asked", *one)
    plan = {"requests": [{"skill": "addition", "count": 5}]}
    (council / "edited.yaml").write_text(yaml.safe_dump(plan))
    status, _, err = cli("resume", "asked", "--plan", "edited.yaml")
    assert status == 0, err
    (line,) = json.loads((council / "asked/summary.json").read_text())["rows"]
    assert line["asked"] == 5 and set(line["skills"]) <= {"addition"}
    grid = {"base": "small.yaml", "grid": {"teacher.graph": [None, "council.py:graph"], "seed": [0, 1]}}
    (council / "sweep.yaml").write_text(yaml.safe_dump(grid))
    status, _, err = cli("sweep", "sweep.yaml", "--out", "swept", "--jobs", "2")
    assert status == 0, err
    records = [json.loads(line) for line in (council / "swept/results.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["finished"] * 4
    (council / "council.py").write_text(COUNCIL + "\n# changed\n")
    status, _, err = cli("sweep", "sweep.yaml", "--out", "swept")
    assert status == 1 and "as it was before it changed" in err
