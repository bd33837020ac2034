"""A policy, a check and a scorer of a user: from a file that the config imports, or from an installed package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("warm_processes")

PARTS = """
from dataenvgym.agents.checks import check
from dataenvgym.agents.checks.base import failed, passed
from dataenvgym.agents.policies import policy
from dataenvgym.envs.scorers import scorer
from dataenvgym.envs.types import DataRequest, Plan


@policy("first_only", "skill_list", summary="the first skill gets all rows")
async def plan_first_only(feedback, client, seed):
    request = DataRequest(id="r0", skill=feedback.skills[0].name, count=feedback.budget)
    return Plan(policy="first_only", requests=[request])


@check("odd", "free", "the answer is odd")
def check_odd(row, context):
    return passed("odd") if int(row.answer) % 2 else failed("odd", f"{row.answer} is even")


@scorer("generous", "any answer is right")
def is_answered(item, answer):
    return True


@scorer("broken", "fails on every answer")
def fail(item, answer):
    raise ValueError("no such thing")
"""
SETTINGS = (
    *("student.name=tiny", "budget.iterations=1", "budget.rows_per_iteration=6", "task.val_size=1"),
    *("task.test_size=1", "structure=skill_list", "teacher.policy=first_only", "task.scorer=generous"),
    "teacher.checks.names=[format,odd]",
)


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "150"}
    command = [sys.executable, "-m", "dataenvgym.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=300)


@pytest.fixture(params=["imports", "entry points"])
def imports(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The parts are there; what the command line must be told of them."""
    (tmp_path / "own_parts.py").write_text(PARTS)
    if request.param == "imports":
        return ["--set", "imports=[./own_parts.py]"]
    info = tmp_path / "own_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own_parts\nVersion: 1.0\n")
    points = (("policies", "first_only"), ("checks", "odd"), ("scorers", "generous"))
    (info / "entry_points.txt").write_text(
        "".join(f"[dataenvgym.{g}]\n{name} = own_parts\n" for g, name in points)
    )
    return []


def test_a_run_uses_them_by_their_names(imports: list[str], tmp_path: Path) -> None:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    ended = cli(tmp_path, "run", *imports, *settings, "--out", "run")
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    teaching = tmp_path / "run" / "iterations" / "001"
    plan = json.loads((teaching / "plan.jsonl").read_text().splitlines()[0])
    assert plan["policy"] == "first_only" and [request["count"] for request in plan["requests"]] == [6]
    accepted = [json.loads(line) for file in teaching.glob("accepted-?.jsonl") for line in file.open()]
    assert accepted and all(int(row["answer"]) % 2 for row in accepted)
    rejected = [json.loads(line) for file in teaching.glob("rejected-?.jsonl") for line in file.open()]
    assert all("is even" in json.dumps(row) for row in rejected)


def test_a_name_that_is_not_there_is_answered_by_the_nearest(imports: list[str], tmp_path: Path) -> None:
    for key, near, right in (
        ("teacher.policy", "first_onyl", "first_only"),
        ("task.scorer", "generos", "generous"),
        ("teacher.checks.names", "[odds]", "odd"),
    ):
        refused = cli(tmp_path, "run", *imports, "--set", "structure=skill_list", "--set", f"{key}={near}")
        assert refused.returncode == 1 and f"Did you mean '{right}'?" in refused.stderr, refused.stderr


def test_an_answer_on_which_a_scorer_fails_is_wrong_for_that_reason(tmp_path: Path) -> None:
    (tmp_path / "own_parts.py").write_text(PARTS)
    script = """
import dataenvgym
from dataenvgym.envs.tasks import load_task

config = dataenvgym.load_config(None, ["imports=[./own_parts.py]", "task.scorer=broken"])
domain, item = (task := load_task(config.task)).domain, task.val[0]
print(domain.score([item], [f"Answer: {item.answer}"])[0])
config = dataenvgym.load_config(None, ["task.scorer=generous"])
domain = load_task(config.task).domain
print(domain.score([item], ["Answer: 1000001"])[0].correct, domain.read_back("1", "Answer: 2"))
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=env)
    first, second = ended.stdout.splitlines()
    assert "correct=False" in first and "scorer 'broken' failed: ValueError: no such thing" in first
    assert second == "True ('2', True)"


def test_scorers_are_listed_and_the_exact_one_wants_the_very_text(tmp_path: Path) -> None:
    listed = cli(tmp_path, "list", "scorers").stdout
    assert "exact" in listed and "math" in listed
