"""Plans that a person approves, and skills that are discovered or given."""

import json
from pathlib import Path
from typing import Any

import pytest
from episode_files import only, summary_of

from dataenvgym.envs.errors import ConfigError, RunFolderError, TeacherError
from dataenvgym.envs.types import Plan
from dataenvgym.graphs.resources import task_of
from dataenvgym.runs.run import run

# Skills


def test_discovered_skills_are_the_gold_ones(stub_config: Any, tmp_path: Path) -> None:
    config = stub_config("skills=llm", "budget.iterations=1")
    run(config, tmp_path / "run")
    found = json.loads((tmp_path / "run/skills.json").read_text())
    assert found == {item.id: item.skill for item in task_of(config).val}


def test_saved_skills_are_used_again(stub_config: Any, tmp_path: Path) -> None:
    config = stub_config("budget.iterations=1")
    saved = {item.id: "even" if number % 2 else "odd" for number, item in enumerate(task_of(config).val)}
    path = tmp_path / "skills.json"
    path.write_text(json.dumps(saved))
    run(stub_config("budget.iterations=1", f"skills={path}"), tmp_path / "run")
    assert json.loads((tmp_path / "run/skills.json").read_text()) == saved
    plan = only(tmp_path / "run", "iterations/001/plan.jsonl", Plan)
    assert {request.skill for request in plan.requests} == {"even", "odd"}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("missing", ConfigError, "names no skill for 1 val instances, e.g. arithmetic-s0/val/addition/000"),
        ("[1, 2]", RunFolderError, "JSON object"),
        ("{", RunFolderError, "cannot be read as skills"),
        (None, RunFolderError, "cannot be read as skills"),
    ],
)
def test_saved_skills_that_do_not_fit_are_refused(
    content: str | None, error: type[Exception], said: str, stub_config: Any, tmp_path: Path
) -> None:
    path = tmp_path / "skills.json"
    config = stub_config(f"skills={path}")
    if content == "missing":
        content = json.dumps({item.id: "any" for item in task_of(config).val if item.skill != "addition"})
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=said):
        run(config, tmp_path / "run")


# Approval


def test_approved_and_edited_plans_are_generated(stub_config: Any, tmp_path: Path) -> None:
    asked: list[Any] = []

    def approve(question: Any) -> Any:
        asked.append(question)
        if len(asked) == 1:
            return "yes"
        plan = question["plan"]
        return {**plan, "requests": [{**plan["requests"][0], "count": 2}]}

    found = summary_of(run(stub_config("approve=true"), tmp_path / "run", approve=approve))
    assert [v["rows"] for v in found["val"]] == [0, 12, 14]
    assert len(asked) == 2


def test_a_refused_plan_ends_the_run_and_is_asked_for_again(stub_config: Any, tmp_path: Path) -> None:
    from dataenvgym.runs.run import resume

    config = stub_config("approve=true", "budget.iterations=1")
    with pytest.raises(TeacherError, match="refused"):
        run(config, tmp_path / "run", approve=lambda _: "no")
    assert not list((tmp_path / "run").glob("iterations/001/generated*"))
    outcome = resume(tmp_path / "run", approve=lambda _: "yes")
    assert summary_of(outcome)["rows_accepted"] == 12


def test_an_edited_plan_over_the_budget_is_refused_before_anything_is_paid(
    stub_config: Any, tmp_path: Path
) -> None:
    from dataenvgym.runs.run import resume

    def too_much(question: Any) -> Any:
        return {**question["plan"], "requests": [{**question["plan"]["requests"][0], "count": 25}]}

    config = stub_config("approve=true", "budget.iterations=1")
    with pytest.raises(TeacherError, match="asks for 25 rows; iteration 1 may have 12"):
        run(config, tmp_path / "run", approve=too_much)
    assert not list((tmp_path / "run").glob("iterations/001/generated*"))
    assert summary_of(resume(tmp_path / "run", approve=lambda _: "yes"))["rows_accepted"] == 12


def test_without_anyone_to_ask_the_run_stops_and_can_go_on(stub_config: Any, tmp_path: Path) -> None:
    from dataenvgym.runs.run import resume

    assert run(stub_config("approve=true", "budget.iterations=1"), tmp_path / "run").summary is None
    assert summary_of(resume(tmp_path / "run", approve=lambda _: "yes"))["rows_accepted"] == 12
