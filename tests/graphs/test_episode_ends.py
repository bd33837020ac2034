"""What ends an episode, and what is accounted for at its end."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from episode_files import summary_of

from dataenvgym.agents.data_generator import NO_ROW
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import FruitlessError
from dataenvgym.graphs.episode import stop_reason
from dataenvgym.graphs.resources import task_of
from dataenvgym.graphs.state import Step
from dataenvgym.runs.run import resume, run


def test_test_is_scored_once_and_last(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    config = stub_config()
    events: list[dict[str, Any]] = []
    run(config, tmp_path / "run", on_event=events.append)
    held_out = {task_of(config).domain.prompt(item) for item in task_of(config).test}
    with_test = [number for number, prompts in enumerate(stub.asked) if held_out & set(prompts)]
    assert with_test == [len(stub.asked) - 2, len(stub.asked) - 1], "the base and the best, after all else"
    phases = [e["name"] for e in events if e["event"] == "phase"]
    assert phases == ["reset", "evaluate", "train", "evaluate", "train", "evaluate", "test"]
    shown = (tmp_path / "run").glob("iterations/**/*.jsonl")
    text = "".join(path.read_text() for path in shown)
    assert [item.id for item in task_of(config).test if item.id in text] == []


def test_the_summary_reports_the_gain_of_the_best_student(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    found = summary_of(run(stub_config("budget.rows_per_iteration=50"), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == [0, 50, 100]
    assert found["val"][0]["accuracy"] == 0
    assert found["val"][2]["accuracy"] == found["test"]["best"]["accuracy"] == 1
    assert (found["best_iteration"], found["test"]["gain"]["value"]) == (2, 1)
    assert all((skill["base"], skill["best"]) == (0, 1) for skill in found["skills"].values())


@pytest.mark.parametrize(
    ("settings", "rows", "reason"),
    [
        (["budget.iterations=1"], [0, 12], "all 1 iterations done"),
        (["budget.iterations=9", "budget.rows=30"], [0, 12, 24, 30], "row budget of 30 used"),
        (["budget.iterations=9", "budget.rows=5"], [0, 5], "row budget of 5 used"),
        (
            ["budget.iterations=9", "budget.target=0.5", "budget.rows_per_iteration=100"],
            [0, 100],
            "target accuracy 0.5",
        ),
        (
            ["budget.iterations=9", "budget.patience=2", "budget.rows_per_iteration=1"],
            [0, 1, 2],
            "no gain on val for 2",
        ),
    ],
)
def test_budgets_are_cumulative_and_the_reason_is_told(
    settings: list[str], rows: list[int], reason: str, stub_config: Any, tmp_path: Path
) -> None:
    found = summary_of(run(stub_config(*settings), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == rows
    assert reason in found["stop_reason"]


def test_patience_counts_from_the_best_iteration(stub_config: Any) -> None:
    def steps(*accuracies: float) -> list[Any]:
        return [
            Step(
                iteration=i,
                accuracy=a,
                rows=i,
                student=None,
                predictions=None,
                n=9,
                plan=None,
                accepted=None,
                rejected=None,
            )  # type: ignore[typeddict-item]
            for i, a in enumerate(accuracies)
        ]

    config = stub_config("budget.iterations=9", "budget.patience=2")
    assert stop_reason(config, steps(0.1, 0.0)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.1)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.3, 0.1)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.1, 0.2)) == "no gain on val for 2 iterations"


def test_a_base_that_meets_the_target_is_not_taught(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    stub.rows = 100
    stub.load = lambda adapter: None
    found = summary_of(run(stub_config("budget.target=0.9"), tmp_path / "run"))
    assert (found["iterations"], found["rows_accepted"], found["calls"]) == (0, 0, 0)
    assert found["test"]["gain"]["value"] == 0


def test_a_teacher_that_delivers_nothing_leaves_the_student_as_it_was(stub_config: Any, tmp_path: Path) -> None:
    settings = ("teacher.llm.scripted.wrong_answer=1", "teacher.checks.names=[solve]", "teacher.refill_rounds=0")
    found = summary_of(run(stub_config(*settings), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == [0, 0, 0]
    assert not (tmp_path / "run/students").exists()
    assert found["rows_rejected"] == 24
    assert [(r["asked"], r["received"], r["rejected"], r["diversity"]) for r in found["rows"]] == [
        (12, 12, {"solve": 12}, None)
    ] * 2


def test_a_model_that_gives_nothing_ends_the_run_with_the_reason_and_can_be_replaced(
    stub_config: Any, tmp_path: Path
) -> None:
    config = stub_config("teacher.llm.scripted.drop=1", "teacher.rows_per_call=1")
    with pytest.raises(FruitlessError, match="first 4 calls of generate_data: an empty reply"):
        run(config, tmp_path / "run")
    paid = sum(record.attempts for record in Ledger(tmp_path / "run/ledger.jsonl").records())
    assert paid == 4 * config.teacher.llm.content_attempts and not (tmp_path / "run/summary.json").exists()
    with pytest.raises(FruitlessError):
        resume(tmp_path / "run")


def test_every_row_of_an_iteration_is_accounted_for(stub_config: Any, tmp_path: Path) -> None:
    errs = ("duplicate=0.3", "wrong_answer=0.2", "malformed=0.2")
    settings = [f"teacher.llm.scripted.{share}" for share in errs]
    checks = "teacher.checks.names=[format, answer, duplicate, contamination, solve]"
    found = summary_of(run(stub_config(*settings, checks, "teacher.rows_per_call=4"), tmp_path / "run"))
    assert [r["accepted"] for r in found["rows"]] == [v["rows"] - w["rows"] for w, v in pairwise(found["val"])]
    total: Counter[str] = Counter()
    for line in found["rows"]:
        by_check = Counter(line["rejected"])
        total += by_check
        judged = sum(count for check, count in by_check.items() if check not in NO_ROW)
        assert line["asked"] == 12 and line["received"] == line["accepted"] + judged
        assert 0 <= line["refilled"] <= line["accepted"] and 0 < line["diversity"] < 1
    assert sum(total.values()) == found["rows_rejected"] and {"solve", "schema"} <= set(total)
    assert sum(line["refilled"] + line["salvaged"] for line in found["rows"]) > 0
