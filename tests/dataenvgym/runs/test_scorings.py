"""How often the private test was scored is told: in the summary, on the terminal and in the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.graphs.config import load_config
from dataenvgym.runs.extend import extended
from dataenvgym.runs.fork import fork
from dataenvgym.runs.run import resume, run

Small = Callable[..., list[str]]
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def once(small: Small, tmp_path: Path) -> Path:
    run(load_config(None, small(**{"budget.iterations": 1})[1::2]), tmp_path / "run")
    return tmp_path / "run"


def scored(run_dir: Path) -> list[Any]:
    found = json.loads((run_dir / "summary.json").read_text())["test_scored"]
    return [(one["iterations"], one["rows"], "run" in one) for one in found]


def test_one_scoring_is_said_to_be_one(cli: Cli, once: Path) -> None:
    assert scored(once) == [(1, 12, False)]
    assert "the private test was scored once" in cli("show", once)[1]
    assert "was scored once" in (once / "report.html").read_text()
    resume(once)
    assert scored(once) == [(1, 12, False)]


def test_a_larger_budget_scores_it_again_which_is_counted(cli: Cli, once: Path) -> None:
    for iterations in (2, 3):
        with extended(once, [f"budget.iterations={iterations}"]):
            summary = resume(once).summary
    assert scored(once) == [(1, 12, False), (2, 24, False), (3, 36, False)]
    assert summary is not None and summary["test_scored"] == json.loads((once / "test/scored.json").read_text())
    says = "scored 3 times, after 1 iterations and 12 rows, 2 iterations and 24 rows, 3 iterations and 36 rows"
    assert says in " ".join(cli("show", once)[1].split())
    page = (once / "report.html").read_text()
    assert page.count(says) == 2, "below the gain, and among the facts"


def test_a_smaller_budget_scores_nothing(once: Path) -> None:
    with extended(once, ["budget.rows=5"]):
        resume(once)
    assert scored(once) == [(1, 12, False)]


def test_a_run_of_a_version_that_did_not_count_has_one_scoring_more(once: Path) -> None:
    (once / "test/scored.json").unlink()
    summary = json.loads((once / "summary.json").read_text())
    (once / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != "test_scored"}))
    with extended(once, ["budget.iterations=2"]):
        resume(once)
    assert scored(once) == [(1, 12, False), (2, 24, False)]


def test_a_fork_counts_the_scorings_of_its_parent(once: Path, tmp_path: Path) -> None:
    child = fork(once, 2, overrides=["budget.iterations=2"], out=tmp_path / "child")
    resume(child)
    assert scored(child) == [(1, 12, True), (2, 24, False)]
    grandchild = fork(child, 2, overrides=["budget.iterations=2"], out=tmp_path / "grandchild")
    resume(grandchild)
    assert scored(grandchild) == [(1, 12, True), (2, 24, True), (2, 24, False)]
    assert scored(once) == [(1, 12, False)]
