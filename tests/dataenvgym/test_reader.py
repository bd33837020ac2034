"""An episode whose feedback reader asks a model: what it reads is in plans, prompts, report and estimate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import OpenAIServer, scripted_replies

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Plan
from dataenvgym.graphs.config import STRUCTURES

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]
READER = {"teacher.reader": "model", "budget.iterations": 1}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_a_model_reads_is_in_feedback_plan_prompts_and_report(
    structure: str, cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    run = tmp_path / "run"
    with OpenAIServer(scripted_replies()) as server:
        model = {"teacher.llm.model": "openai:reader", "teacher.llm.base_url": server.url, "teacher.policy": "llm"}
        status, out, err = cli("run", "--out", run, *small(**READER, **model, structure=structure))
        assert status == 0, err
    assert "errors read: " in out
    (feedback,) = read_jsonl(run / "iterations/001/feedback.jsonl", Feedback)
    shown = {error.id for error in feedback.errors}
    assert feedback.diagnoses and all(set(one.examples) <= shown for one in feedback.diagnoses)
    by_tool: dict[str, str] = {}
    for request in server.requests:
        name = request["tools"][0]["function"]["name"]
        by_tool[name] = by_tool.get(name, "") + request["messages"][-1]["content"]
    assert set(by_tool) >= {"submit_diagnoses", "submit_rows"}
    planned = by_tool.get("submit_requests", by_tool.get("submit_actions", ""))
    problem = feedback.diagnoses[0].problem
    assert problem in planned and problem in by_tool["submit_rows"]
    (plan,) = read_jsonl(run / "iterations/001/plan.jsonl", Plan)
    assert any(one.problem in request.reason for one in feedback.diagnoses for request in plan.requests)
    page = (run / "report.html").read_text()
    assert "What the teacher read in the errors before it" in page and "Writes" in page
    assert Ledger(run / "ledger.jsonl").totals("read_feedback").calls >= 1
    assert {one["node"] for one in json.loads((run / "summary.json").read_text())["calls_by_node"]} >= {
        "read_feedback",
        "plan_data",
        "generate_data",
    }


def test_without_state_there_is_nothing_to_read(cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("run", "--out", run, *small(**READER, state="false"))[0] == 0
    assert Ledger(run / "ledger.jsonl").totals("read_feedback").calls == 0
    assert "What the teacher read" not in (run / "report.html").read_text()


def test_the_estimate_counts_the_readings(cli: Cli, small: Small) -> None:
    status, out, _ = cli("estimate", *small(**READER))
    assert status == 0 and "read_feedback" in out


def test_a_second_run_of_the_node_asks_nothing_again(cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("run", "--out", run, *small(**READER))[0] == 0
    readings = Ledger(run / "ledger.jsonl").totals("read_feedback").calls
    assert cli("fork", run, "--at", "1", "--out", tmp_path / "fork", "--set", "teacher.errors_per_skill=5")[0] == 0
    totals = Ledger(tmp_path / "fork" / "ledger.jsonl").totals("read_feedback")
    assert (totals.calls, totals.cached) == (0, readings)
