"""`dataenvgym check`: a teacher of the user's is tried without a student, a key or a run."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.commands.check import check_teacher
from dataenvgym.graphs.config import load_config

Cli = Callable[..., tuple[int, str, str]]
Check = Callable[[str], tuple[int, str, str]]

TEACHERS = """
import itertools
import time

import dataenvgym
from dataenvgym.graphs.files import accepted_of, save

LIST = ["structure=skill_list"]


def edited(**nodes):
    graph = dataenvgym.build_teacher("skill_list")
    for name, node in nodes.items():
        dataenvgym.replace_node(graph, name, node)
    return graph


def critic(state, runtime):
    return {}


good = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(good, "plan_data", "critic", critic)


def misspelt(state, runtime):
    return {"pland": 3}


unknown_key = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(unknown_key, "plan_data", "critic", misspelt)


def endless(state, runtime):
    return {}


never_ends = edited(verify_data=endless)


def forgetful(state, runtime):
    return {"missing": 0, "round": 1}


no_rows = edited(verify_data=forgetful)


def padded(state, runtime):
    from dataenvgym.graphs.files import generated_of
    rows = generated_of(state)
    more = [row.model_copy(update={"id": row.id + "b"}) for row in rows]
    return {"accepted": save(state, "accepted", [*rows, *more]), "missing": 0, "round": 1}


too_many = edited(verify_data=padded)


def plans_as_rows(state, runtime):
    return {"accepted": state["plan"], "missing": 0, "round": 1}


wrong_schema = edited(verify_data=plans_as_rows)


def sums(observation):
    return [
        {"question": f"What is {n} + 1?", "answer": str(n + 1), "solution": "", "skill": "addition"}
        for n in range(observation.budget)
    ]


def greedy(observation):
    return sums(observation) * 2


def without_end(observation):
    for n in itertools.count():
        yield {**sums(observation)[0], "question": f"What is {n} + 1?", "answer": str(n + 1)}


def stuck(observation):
    while True:
        time.sleep(0.01)


def numbers(observation):
    return [{"question": "What is 1 + 1?", "answer": 2, "solution": "", "skill": "addition"}]


def words(observation):
    return ["What is 1 + 1?"]


neither = 5
"""


@pytest.fixture
def check(cli: Cli, tmp_path: Path) -> Check:
    path = tmp_path / "mine.py"
    path.write_text(TEACHERS)
    settings = (
        "--set",
        "structure=skill_list",
        "--set",
        "task.val_size=2",
        "--set",
        "budget.rows_per_iteration=12",
    )
    return lambda name: cli("check", f"{path}:{name}", *settings)


@pytest.mark.parametrize(("name", "node"), [("good", "critic"), ("sums", "sums")])
def test_a_teacher_that_keeps_the_contract(name: str, node: str, check: Check) -> None:
    status, out, err = check(name)
    assert (status, err) == (0, "")
    assert node in out
    assert "keeps the contract: 12 rows planned, 12 accepted, " in out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unknown_key", ["critic", "'pland'", "Did you mean 'plan'?"]),
        ("never_ends", ["generate_data -> verify_data", "did not end within", "`missing`"]),
        ("without_end", ["without_end", "more than 12 rows", "budget of this iteration is 12"]),
        ("no_rows", ["verify_data", "'accepted'", "plan, accepted, rejected"]),
        ("too_many", ["verify_data", "24 rows", "asks for 12"]),
        ("wrong_schema", ["verify_data", "accepted", "not a valid Row"]),
        ("greedy", ["greedy", "24 rows", "budget of this iteration is 12"]),
        ("numbers", ["numbers", "row 0", "'answer'", "string"]),
        ("words", ["words", "row 0", "str", "mapping"]),
        ("neither", ["a graph", "a function", "int"]),
        ("gud", ["'gud'", "Did you mean 'good'?"]),
    ],
)
def test_a_breach_is_named_with_its_node_and_key(name: str, says: list[str], check: Check) -> None:
    status, _, err = check(name)
    assert status == 1
    assert [part for part in says if part not in err] == [], err


def test_a_node_that_does_not_end_is_named() -> None:
    ended, said = threading.Event(), list[str]()

    def waits(observation: Any) -> list[dict[str, str]]:
        ended.wait()
        return []

    def late(message: str) -> None:
        said.append(message)
        ended.set()

    config = load_config(None, ["structure=skill_list", "task.val_size=2"])
    check_teacher(waits, config, seconds=0.05, late=late)
    assert said == ["waits: still at work after 0.05 s, with 0 calls to the model. If it needs longer: --seconds"]


@pytest.mark.usefixtures("warm_processes")
def test_a_loop_in_a_node_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TEACHERS)
    command = ["-m", "dataenvgym.cli", "check", "mine.py:stuck", "--seconds", "1", "--set", "task.val_size=2"]
    found = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert found.returncode == 1
    assert "error: stuck: still at work after 1 s, " in found.stderr


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("no_such_module_here:graph", "there is no module 'no_such_module_here'"),
        ("nothing.py:graph", "there is no file nothing.py"),
        ("graph", "expected module:attribute"),
    ],
)
def test_what_cannot_be_loaded(spec: str, says: str, cli: Cli) -> None:
    status, _, err = cli("check", spec)
    assert status == 1 and says in err


def test_a_module_that_fails_says_why(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    status, _, err = cli("check", f"{tmp_path / 'broken.py'}:graph")
    assert status == 1 and "No module named 'nothing_of_this_name'" in err
