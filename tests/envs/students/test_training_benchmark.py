"""The benchmark of students runs, every line of it, at toy size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_benchmark_measures_each_thing_at_toy_size() -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "student.py"
    ended = subprocess.run(
        [sys.executable, str(script), "--toy"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "DATAENVGYM_VLLM_PYTHON"},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert set(found["training"]["tokens_per_second"]) > {"ours", "TRL defaults"}
    assert all(speed > 0 for speed in found["training"]["tokens_per_second"].values())
    assert found["generation"]["same_texts"] == found["prompts"]
    assert set(found["between_iterations"]) == {"in this process", "in a process of its own"}
    big = found["billion"]
    assert big["tokens_per_second"] > 0 and 0 < big["model_flop_utilisation"] < 1 and big["peak_memory_mb"] > 0
    assert big["iteration_seconds"] == pytest.approx(big["of_it_training"] + big["of_it_answering"], abs=0.02)
