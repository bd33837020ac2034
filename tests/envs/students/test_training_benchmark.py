"""The benchmarks of students run, every line of them, at toy size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_processes")]


def measured(script: str) -> dict[str, Any]:
    """What a benchmark gives as its last line."""
    path = Path(__file__).parents[3] / "benchmarks" / script
    ended = subprocess.run(
        [sys.executable, str(path), "--toy"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "DATAENVGYM_VLLM_PYTHON"},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_the_benchmark_measures_each_thing_at_toy_size() -> None:
    found = measured("student.py")
    assert set(found["training"]["tokens_per_second"]) > {"ours", "TRL defaults"}
    assert all(speed > 0 for speed in found["training"]["tokens_per_second"].values())
    assert found["generation"]["same_texts"] == found["prompts"]
    assert set(found["between_iterations"]) == {"in this process", "in a process of its own"}


def test_what_a_gpu_is_measured_by_runs_on_a_cpu_at_toy_size() -> None:
    found = measured("gpu.py")
    assert not [name for name, part in found.items() if isinstance(part, dict) and "error" in part]
    for part in (*found["speed"].values(), found["ways"]):
        assert all(speed > 0 for speed in part["tokens_per_second"].values())
        assert all(0 < share < 1 for share in part["model_flop_utilisation"].values())
    assert found["speed"]["mixed"]["over_trl_defaults"] > 0
    parts = found["iteration"]
    whole = parts["reading_and_writing"] + parts["training"] + parts["answering"]
    assert parts["seconds"] == pytest.approx(whole, abs=0.03)
    # Batches and sums in another order move what is in bfloat16 by rounding alone.
    assert found["losses"]["loop_and_trl"]["max"] < 0.01
    assert found["answers"]["same_alone_as_in_a_batch_in_float32"] == found["answers"]["of"]
    assert found["dpo"]["steps"] == 3 and found["full"]["tokens_per_second"] > 0
    assert found["visible"]["CUDA_VISIBLE_DEVICES="]["auto"] == "cpu"
