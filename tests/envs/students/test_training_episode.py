"""Whole episodes with each way of training, at toy size."""

import json
from pathlib import Path

import pytest

import dataenvgym

SMALL = [
    *("student.name=tiny", "student.device=cpu", "student.generation.max_new_tokens=4", "task.val_size=1"),
    *("task.test_size=1", "structure=skill_list", "budget.iterations=2", "budget.rows_per_iteration=12"),
]


@pytest.mark.parametrize(
    ("settings", "weights", "learnt"),
    [
        (["adapter=full", "start=last"], "model.safetensors", [12, 12]),
        (["method=dpo", "learning_rate=1e-4"], "adapter_model.safetensors", [12, 24]),
        (["method=dpo", "start=last", "learning_rate=1e-4"], "adapter_model.safetensors", [12, 12]),
        (["backend=trl", "micro_batch=2"], "adapter_model.safetensors", [12, 24]),
        pytest.param(
            ["process=true", "start=last"], "adapter_model.safetensors", [12, 12], marks=pytest.mark.slow
        ),
    ],
    ids=["full", "dpo from the base", "dpo from the last", "trl", "own process"],
)
def test_an_episode_trains_the_student_that_way(
    settings: list[str], weights: str, learnt: list[int], tmp_path: Path
) -> None:
    overrides = [*SMALL, *(f"student.train.{setting}" for setting in settings)]
    outcome = dataenvgym.run(dataenvgym.load_config(None, overrides), tmp_path / "run")
    assert outcome.summary is not None
    assert outcome.summary["stop_reason"] == "all 2 iterations done"
    students = list((tmp_path / "run" / "students").iterdir())
    assert len(students) == 2 and all((folder / weights).is_file() for folder in students)
    told = [json.loads((folder / "train.json").read_text()) for folder in students]
    assert sorted(t["rows"] for t in told) == learnt
    assert all(t["tokens_per_second"] > 0 and t["losses"] for t in told)
