"""Whole episodes on tool use: every teacher, from rows with their tools to the partial scores of answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dataenvgym.envs.domains.tool_use.calls import read_calls
from dataenvgym.envs.domains.tool_use.plans import SCORES
from dataenvgym.envs.types import Prediction, Row

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["true", "false"])
@pytest.mark.parametrize("structure", ["open_ended", "skill_list", "skill_tree"])
def test_every_teacher_finishes_an_episode_on_tool_use(
    structure: str, state: str, cli: Cli, small: Small, tmp_path: Path
) -> None:
    settings = {"task.name": "tool_calls", "structure": structure, "state": state}
    status, out, err = cli("run", *small(**settings), "--out", tmp_path / "run")
    assert status == 0, err
    assert "gain on the private test" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["iterations"] == 2
    files = sorted((tmp_path / "run").glob("iterations/*/accepted-*.jsonl"))
    rows = [Row.model_validate_json(line) for file in files for line in file.read_text().splitlines()]
    assert rows and all(read_calls(row.answer) is not None and row.extra["tools"] for row in rows)
    predictions = (tmp_path / "run" / "iterations" / "001" / "predictions.jsonl").read_text().splitlines()
    assert all(set(Prediction.model_validate_json(line).scores) == set(SCORES) for line in predictions)
