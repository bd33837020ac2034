"""Each example runs as its text says, with the tiny student and no key."""

import json
import runpy
from pathlib import Path

import pytest

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SCRIPTS, reason="there is no examples/ beside the tests")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    said = capsys.readouterr().out
    assert "rows" in said and "0 rows accepted" not in said.split("\n")[-2].split("s0 ")[-1][:15]


def test_a_teacher_of_many_own_nodes_goes_on_and_is_forked_with_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    teachers = EXAMPLES / "teachers"
    settings = {
        "structure": "skill_list",
        "student.name": "tiny",
        "task.val_size": 1,
        "task.test_size": 1,
        "budget.iterations": 1,
        "budget.rows_per_iteration": 12,
    }
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    named = ["--teacher", str(teachers / "debate.py:graph"), "--prompts", str(teachers / "prompts")]
    assert main(["run", *named, *sets, "--out", "run"]) == 0, capsys.readouterr().err
    assert main(["resume", "run", "--set", "budget.iterations=3"]) == 0, capsys.readouterr().err
    assert main(["fork", "run", "--at", "3", "--out", "fork"]) == 0, capsys.readouterr().err
    for run in (tmp_path / "run", tmp_path / "fork"):
        choices = json.loads((run / "iterations/003/memory-choices.json").read_text())
        assert len(choices) == 3 and {one["plan"] for one in choices} <= {"by_error", "by_model"}
        for name in ("plan-plan_by_error", "plan-plan_by_model"):
            assert (run / f"iterations/003/{name}.jsonl").is_file(), "each planner has a file of its own"
    calls = Ledger(tmp_path / "run" / "ledger.jsonl")
    assert {record.node for record in calls.records() if record.prompt.endswith("judge_plans")} == {"plan_data"}
