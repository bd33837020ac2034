"""An episode that its caps on the teacher's calls end, and one that goes on with a larger budget."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import ConfigError
from dataenvgym.graphs.config import STRUCTURES, load_config
from dataenvgym.runs.estimate import estimate
from dataenvgym.runs.extend import extend
from dataenvgym.runs.folder import open_run
from dataenvgym.runs.run import resume

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]
CALLS = {"teacher.rows_per_call": 1}


def rows_of(run: Path) -> list[Any]:
    found = sorted(run.glob("iterations/*/accepted-*.jsonl"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def last_rows_of(run: Path) -> list[Any]:
    """The rows that each iteration was trained on."""
    steps = json.loads((run / "summary.json").read_text())["rows"]
    files = [run / step["files"]["accepted"] for step in steps]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_a_cap_on_calls_ends_the_episode_and_a_higher_one_goes_on(cli: Cli, small: Small, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    status, out, _ = cli("run", "--out", run, *small(**CALLS, **{"budget.max_calls": 17}))
    assert status == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["stop_reason"] == "budget of 17 calls used" and "budget of 17 calls used" in out
    assert "resume" in out and "--set budget." in out
    assert [v["rows"] for v in summary["val"]] == [0, 12, 17], "what was paid for is trained on"
    assert Ledger(run / "ledger.jsonl").totals().attempts == 17
    refused = [json.loads(line) for p in run.glob("iterations/002/rejected-*.jsonl") for line in p.open()]
    assert {v["check"] for r in refused for v in r["verdicts"]} == {"budget"}

    assert cli("resume", run, "--set", "budget.max_calls=100", "--set", "budget.iterations=3")[0] == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["stop_reason"] == "all 3 iterations done"
    assert [v["rows"] for v in summary["val"]] == [0, 12, 24, 36], "the iteration that was cut short is whole"
    totals = Ledger(run / "ledger.jsonl").totals()
    assert summary["calls"] == totals.calls and totals.attempts == 36 and summary["cost"] == 0

    assert cli("run", "--out", whole, *small(**CALLS, **{"budget.iterations": 3}))[0] == 0
    assert last_rows_of(run) == last_rows_of(whole), "nothing was paid twice, and nothing is lost"


def test_a_finished_run_goes_on_as_one_that_was_longer_from_the_start(
    cli: Cli, small: Small, tmp_path: Path
) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert cli("run", "--out", short, *small(**{"budget.iterations": 1}))[0] == 0
    assert cli("resume", short, "--set", "budget.iterations=2")[0] == 0
    assert cli("run", "--out", long, *small())[0] == 0
    assert rows_of(short) == rows_of(long)
    kept = ("val", "skills", "test", "rows_accepted", "calls", "stop_reason")
    mine, theirs = (json.loads((r / "summary.json").read_text()) for r in (short, long))
    assert {k: mine[k] for k in kept} == {k: theirs[k] for k in kept}
    assert open_run(short) == open_run(long)


def test_only_the_end_of_a_run_may_change(cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("run", "--out", run, *small(**{"budget.iterations": 1}))[0] == 0
    before = resume(run).summary
    with pytest.raises(ConfigError, match=r"seed, student\.name: a run keeps.*budget\.max_calls"):
        extend(run, ["seed=3", "student.name=smollm2"])
    extend(run, ["budget.iterations=1"])
    assert resume(run).summary == before
    status, _, err = cli("resume", run, "--set", "budget.max_call=3")
    assert status == 1 and "Did you mean 'budget.max_calls'" in err
    assert cli("resume", tmp_path / "none", "--set", "budget.iterations=3")[0] == 1


def test_a_prompt_folder_that_is_not_there_is_told_at_once(cli: Cli, small: Small, tmp_path: Path) -> None:
    status, _, err = cli("run", "--out", tmp_path / "run", *small(**{"teacher.prompts": tmp_path / "none"}))
    assert status == 1 and "teacher.prompts" in err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_estimate_is_what_a_run_asks(structure: str, cli: Cli, small: Small, tmp_path: Path) -> None:
    settings = small(
        structure=structure,
        **{"teacher.rows_per_call": 2, "budget.iterations": 1, "teacher.refill_rounds": 0, "task.val_size": 4},
    )
    config = load_config(None, [word for word in settings if word != "--set"])
    found = {line.node: line for line in estimate(config)}
    assert cli("run", "--out", tmp_path / "run", *settings)[0] == 0
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    assert set(found) == {r.node for r in ledger.records()}
    for node, line in found.items():
        asked = ledger.totals(node)
        assert abs(line.calls - asked.calls) <= 2 + asked.calls // 4, "the student gets other instances wrong"
        assert line.cost == 0


def test_an_estimate_counts_iterations_solutions_and_discovery() -> None:
    base = ["task.val_size=2", "task.test_size=1", "structure=skill_list", "budget.rows_per_iteration=24"]
    price = ["teacher.llm.model=openai:x", "teacher.llm.price=[1,2]", "skills=llm", "budget.max_calls=1"]
    solve = ["teacher.checks.names=[format,solve]", "teacher.checks.solve_per_call=8"]
    once, thrice = (
        {line.node: line for line in estimate(load_config(None, [*base, *price, *solve, *more]))}
        for more in (["budget.iterations=1"], ["budget.iterations=9", "budget.rows=70"])
    )
    assert set(once) == {"discover_skills", "generate_data", "verify_data"}
    assert thrice["discover_skills"] == once["discover_skills"] and once["discover_skills"].calls == 3
    assert once["verify_data"].calls == 3 * 3
    assert thrice["generate_data"].calls == 3 * once["generate_data"].calls
    line = once["generate_data"]
    assert line.cost == pytest.approx((line.prompt_tokens + 2 * line.completion_tokens) / 1e6)


def test_the_estimate_on_the_command_line(cli: Cli, small: Small) -> None:
    status, out, _ = cli("estimate", *small(**{"teacher.llm.model": "openai:x"}))
    assert status == 0 and "generate_data" in out and "unknown" in out and "teacher.llm.price" in out
