"""The user's own students, tasks and checks, named by a config from the command line."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

MINE = '''
import json
from pathlib import Path

from dataenvgym.agents.checks import CHECKS, Check
from dataenvgym.envs.students import STUDENTS, StudentSpec, TrainSummary
from dataenvgym.envs.tasks import TASKS
from dataenvgym.envs.types import Verdict

open("imported.txt", "a").write("once ")


class Sure:
    """Says the number of rows that it was trained on."""

    base_key, generation_key = "sure", "sure"
    rows = 0

    def predict(self, prompts, images=None, progress=None):
        return [f"Answer: {self.rows}"] * len(prompts)

    def train(self, examples, out, *, config, seed, start=None, progress=None):
        out.mkdir(parents=True)
        (out / "train.json").write_text(json.dumps({"rows": len(examples)}))
        return TrainSummary(rows=len(examples), steps=1, seconds=0.0, tokens=0, final_loss=0.0)

    def load(self, adapter):
        self.rows = json.loads((Path(adapter) / "train.json").read_text())["rows"] if adapter else 0

    def close(self):
        pass


def even(row, context):
    return Verdict(check="even", passed=row.answer[-1:] in "02468", reason=f"{row.answer} is odd")


STUDENTS["sure"] = StudentSpec("sure", "says a number", lambda config, report: Sure())
CHECKS["even"] = Check("even", "free", "the answer is even", row=even)
'''
CONFIG = {
    "imports": ["./mine.py"],
    "student": {"name": "sure"},
    "structure": "skill_list",
    "task": {"val_size": 1, "test_size": 1},
    "teacher": {"checks": {"names": ["format", "even"]}},
    "budget": {"iterations": 1, "rows_per_iteration": 12},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def command(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`dataenvgym` in a process of its own: registries are for good."""
    return subprocess.run(
        [sys.executable, "-m", "dataenvgym.cli", *map(str, words)],
        cwd=folder,
        env={**os.environ, "DATAENVGYM_CACHE": str(folder / "cache"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_config_names_the_file_that_registers_what_it_uses(folder: Path) -> None:
    done = command(folder, "run", "mine.yaml", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert (folder / "imported.txt").read_text() == "once "
    last = sorted((folder / "run/iterations/001").glob("accepted-?.jsonl"))[-1]  # after the refill rounds it took
    accepted = [json.loads(line) for line in last.open()]
    assert accepted and all(row["answer"][-1] in "02468" for row in accepted)
    rejected = [json.loads(line) for line in last.with_name(last.name.replace("accepted", "rejected")).open()]
    assert {row["verdicts"][-1]["check"] for row in rejected} == {"even"}
    shown = command(folder, "show", "run")
    assert shown.returncode == 0 and "even" in shown.stdout
    assert command(folder, "resume", "run", "--set", "budget.iterations=2").returncode == 0
    assert len(json.loads((folder / "run/summary.json").read_text())["val"]) == 3


@pytest.mark.parametrize("where", ["here", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_sweep_runs_it_in_each_of_its_processes(folder: Path, where: str) -> None:
    if where == "ray" and find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"base": "mine.yaml", "grid": {"seed": [0, 1]}}))
    ray = ["--address", "local"] if where == "ray" else []
    done = command(folder, "sweep", "sweep.yaml", "--out", "sweep", *ray)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "sweep").glob("*/summary.json"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_its_student_may_have_replicas(folder: Path) -> None:
    done = command(folder, "run", "mine.yaml", "--set", "student.replicas.count=2", "--out", "run")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_cannot_be_imported_is_told(folder: Path) -> None:
    absent = command(folder, "run", "mine.yaml", "--set", "imports=[./none.py]")
    assert absent.returncode != 0 and "there is no file" in absent.stderr and "Traceback" not in absent.stderr
    (folder / "mine.py").write_text("1 / 0")
    broken = command(folder, "run", "mine.yaml")
    assert (
        "mine.py, line 1, cannot be imported: ZeroDivisionError" in broken.stderr
        and "Traceback" not in broken.stderr
    )
    (folder / "mine.py").write_text("")
    empty = command(folder, "run", "mine.yaml")
    assert "unknown student 'sure'" in empty.stderr
