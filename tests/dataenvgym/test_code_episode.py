"""Whole episodes on code: programs of teacher and student are judged within a graph whose events are shown."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataenvgym.envs.types import Row

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["true", "false"])
@pytest.mark.parametrize("structure", ["open_ended", "skill_list", "skill_tree"])
def test_every_teacher_finishes_an_episode_on_code(
    structure: str, state: str, cli: Cli, small: Small, tmp_path: Path
) -> None:
    isolation = "bubblewrap" if shutil.which("bwrap") else "rlimits"
    task = {"task.name": "functions", "task.options.sandbox": isolation}
    status, out, err = cli("run", *small(**task, structure=structure, state=state), "--out", tmp_path / "run")
    assert status == 0, err
    assert "gain on the private test" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["iterations"] == 2
    files = sorted((tmp_path / "run").glob("iterations/*/accepted-*.jsonl"))
    rows = [Row.model_validate_json(line) for file in files for line in file.read_text().splitlines()]
    assert rows and all(row.answer.startswith("def ") and row.extra["tests"] for row in rows)
