"""A teacher and a policy by name: run, resumed, forked, estimated and swept as ours are."""

import asyncio
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataenvgym
from dataenvgym.agents.policies import find_policy
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.graphs.own_teacher import fingerprint, fingerprints, load_own
from dataenvgym.runs.folder import read_manifest

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]

TEACHERS = '''"""Teachers of a user."""
from pydantic import BaseModel

from dataenvgym import Policy, build_teacher, insert_after, planner
from dataenvgym.graphs.own_nodes import ask
from dataenvgym.envs.types import DataRequest, Plan


async def first_skill(feedback, client, seed):
    """All rows for the first skill."""
    name = feedback.skills[0].name
    return Plan(policy="first", requests=[DataRequest(id="r0", skill=name, count=feedback.budget)])


async def note(state):
    return {}


def rows(observation):
    for number in range(observation.budget):
        a, b = 3 + observation.iteration, number
        yield {"question": f"What is {a} + {b}?", "solution": "", "answer": str(a + b), "skill": "addition"}


graph = build_teacher("skill_list")
insert_after(graph, "plan_data", "note", note)
compiled = graph.compile()


class Label(BaseModel):
    id: str
    skill: str


async def label(state, runtime):
    """Two calls of an own node."""
    for sample in range(2):
        shown = [{"id": "a", "question": f"What is {state['iteration']} + 2?"}]
        await ask(runtime, state, "label_skills", Label, sample=sample, instances=shown, known=[])
    return {}


asking = build_teacher("skill_list")
insert_after(asking, "plan_data", "label", label)


def made(config):
    """A graph for the structure of the config."""
    return build_teacher(config.structure)


number = 7
'''


@pytest.fixture
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_teachers.py"
    file.write_text(TEACHERS)
    return file


@pytest.mark.parametrize("name", ["graph", "compiled", "made", "rows"])
def test_each_kind_of_teacher_runs_by_its_name(
    name: str, teachers: Path, cli: Cli, small: Small, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, out, err = cli(
        "run", "--teacher", f"my_teachers.py:{name}", "--out", run, *small(**{"budget.iterations": 1})
    )
    assert status == 0, err
    assert f"my_teachers.py:{name}" in out
    assert json.loads((run / "summary.json").read_text())["rows_accepted"] == 12
    assert load_config(run / "config.yaml").teacher.graph == f"{teachers}:{name}", "found from any folder"


def test_it_is_resumed_forked_and_estimated_like_ours(
    teachers: Path, cli: Cli, small: Small, tmp_path: Path
) -> None:
    run, fork = tmp_path / "run", tmp_path / "fork"
    assert (
        cli("run", "--teacher", "my_teachers.py:graph", "--out", run, *small(**{"budget.iterations": 1}))[0] == 0
    )
    status, _, err = cli("resume", run, "--set", "budget.iterations=2")
    assert status == 0, err
    assert cli("fork", run, "--at", "2", "--out", fork)[0] == 0
    rows = [json.loads((folder / "summary.json").read_text())["rows_accepted"] for folder in (run, fork)]
    assert rows == [24, 24]
    status, out, _ = cli("estimate", "--teacher", "my_teachers.py:graph", *small())
    assert status == 0 and "generate_data" in out
    status, out, _ = cli("estimate", "--teacher", "my_teachers.py:rows", *small())
    assert status == 0 and "generate_data" not in out, "it asks no model"


def test_a_policy_by_its_name_plans(teachers: Path, cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = small(**{"budget.iterations": 1, "teacher.policy": "my_teachers.py:first_skill"})
    status, out, err = cli("run", "--out", run, *settings)
    assert status == 0, err
    assert "my_teachers.py:first_skill" in out
    (step,) = json.loads((run / "summary.json").read_text())["rows"]
    assert list(step["skills"].values()) == [12]


FAULTY = """
import dataenvgym
from dataenvgym.graphs.own_nodes import ask
from helper import pick
from pydantic import BaseModel


class Remark(BaseModel):
    text: str


async def judge(state, runtime):
    return pick(state)


async def asks(state, runtime):
    await ask(runtime, state, "critik", Remark)


def five(state):
    return 5


def rows(observation):
    yield from pick(observation)


def teacher(*nodes, beside=False):
    graph = dataenvgym.build_teacher("skill_list")
    for node in nodes:
        dataenvgym.insert_after(graph, "plan_data", node.__name__, node)
    return graph


judged, asking, wrong = teacher(judge), teacher(asks), teacher(five)
beside = teacher()
beside.add_node("other", lambda state: {"missing": 1})
beside.add_edge("read_feedback", "other")
beside.add_edge("other", "generate_data")
"""
FAULTS = {
    "judged": [
        "node 'judge' failed: KeyError: 'by_error'",
        "faulty.py, line 12, in judge: return pick(state)",
        "helper.py, line 2, in pick: return {}['by_error']",
    ],
    "asking": [
        "node 'asks' failed: unknown math prompt 'critik'",
        "--prompts DIR",
        "faulty.py, line 16, in asks: await ask(",
    ],
    "wrong": ["node 'five': Expected dict, got 5"],
    "rows": ["node 'rows' failed: KeyError: 'by_error'", "faulty.py, line 24, in rows", "helper.py, line 2"],
    "beside": ["two nodes that run side by side both write 'missing'", "planner(policy, key=...)"],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_node_is_told_with_the_node_and_the_lines_of_the_user(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli, small: Small
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper.py").write_text("def pick(state):\n    return {}['by_error']\n")
    (tmp_path / "faulty.py").write_text(FAULTY.lstrip("\n"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for command in (["check", f"faulty.py:{name}"], ["run", "--teacher", f"faulty.py:{name}", "--out", "run"]):
        status, _, err = cli(*command, *small(**{"budget.iterations": 1}))
        assert status == 1
        for words in FAULTS[name]:
            assert words in err
        assert "Traceback" not in err and "langgraph" not in err and "site-packages" not in err
    assert (tmp_path / "run" / "config.yaml").is_file(), "it can be mended, and resumed as changed"


def test_a_model_of_an_own_node_needs_such_a_node(teachers: Path, tmp_path: Path) -> None:
    def config(**models: Any) -> EpisodeConfig:
        named = [f"teacher.models.{node}.model=scripted" for node in models]
        return load_config(None, ["student.name=tiny", "structure=skill_list", *named])

    graph = load_own(load_config(None, ["teacher.graph=my_teachers.py:asking", "structure=skill_list"]))
    assert fingerprints(config(label=1), graph)
    with pytest.raises(UnknownNameError, match=r"'labels'. Did you mean 'label'"):
        dataenvgym.run(config(labels=1), tmp_path / "run", teacher=graph)
    with pytest.raises(UnknownNameError, match=r"'label'"):
        dataenvgym.run(config(label=1), tmp_path / "run")
    with pytest.raises(UnknownNameError, match=r"'labels'. Did you mean 'label'"):
        load_own(
            load_config(
                None,
                [
                    "teacher.graph=my_teachers.py:asking",
                    "structure=skill_list",
                    "teacher.models.labels.model=scripted",
                ],
            )
        )


@pytest.mark.slow
@pytest.mark.usefixtures("warm_processes")
def test_a_sweep_compares_it_with_ours(teachers: Path, cli: Cli, small: Small, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.json"
    names = [None, "my_teachers.py:graph", "my_teachers.py:rows"]
    base: dict[str, Any] = {
        "structure": "skill_list",
        "student": {"name": "tiny"},
        "task": {"val_size": 1, "test_size": 1},
    }
    base["budget"] = {"iterations": 1, "rows_per_iteration": 12}
    sweep.write_text(json.dumps({"base": base, "grid": {"teacher.graph": names, "seed": [0]}}))
    status, _, err = cli("sweep", sweep, "--out", tmp_path / "out")
    assert status == 0, err
    records = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["finished"] * 3
    assert len({record["teacher.graph"] for record in records}) == 3


def test_a_changed_file_is_refused_unless_told(teachers: Path, cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        cli("run", "--teacher", "my_teachers.py:graph", "--out", run, *small(**{"budget.iterations": 1}))[0] == 0
    )
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    teachers.write_text(TEACHERS + "\n# another\n")
    status, _, err = cli("resume", run, "--set", "budget.iterations=2")
    assert status == 1 and "my_teachers.py:graph has changed" in err and "--changed-teacher" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert cli("resume", run, "--set", "budget.iterations=2", "--changed-teacher")[0] == 0
    assert len(read_manifest(run)["teachers"]) == 2, "both are noted"
    assert cli("resume", run, "--set", "budget.iterations=3")[0] == 0, "it is the run's own now"


def test_a_run_is_shown_without_its_teacher(teachers: Path, cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        cli("run", "--teacher", "my_teachers.py:graph", "--out", run, *small(**{"budget.iterations": 1}))[0] == 0
    )
    teachers.unlink()
    assert cli("show", run)[0] == 0
    status, _, err = cli("resume", run, "--set", "budget.iterations=2")
    assert status == 1 and "there is no file" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my_teachers.py:grap", "Did you mean 'graph'"),
        ("none.py:graph", "there is no file"),
        ("my_teachers.py:number", "is of type int"),
        ("my_teachers.py", "expected module:attribute or file.py:attribute"),
        ("no_such_module:graph", "there is no module"),
    ],
)
def test_what_is_no_teacher_is_refused_before_anything_starts(
    name: str, says: str, teachers: Path, cli: Cli, small: Small, tmp_path: Path
) -> None:
    status, _, err = cli("run", "--teacher", name, "--out", tmp_path / "run", *small())
    assert status == 1 and says in err and not (tmp_path / "run").exists()


def test_a_config_from_the_network_loads_no_code(teachers: Path) -> None:
    config = EpisodeConfig.model_validate({"teacher": {"policy": f"{teachers}:never_loaded"}})
    with pytest.raises(ConfigError, match="comes over the network"):
        find_policy(config.structure, config.teacher.policy, config.state)


def test_the_fingerprint_is_of_the_files_and_the_wiring(teachers: Path, tmp_path: Path) -> None:
    def print_of(file: Path, name: str) -> str:
        return fingerprint(load_own(load_config(None, [f"teacher.graph={file}:{name}"])))

    same = tmp_path / "elsewhere" / teachers.name
    same.parent.mkdir()
    shutil.copy(teachers, same)
    assert print_of(teachers, "graph") == print_of(same, "graph") == print_of(same, "compiled")
    assert print_of(teachers, "graph") != print_of(teachers, "rows")
    ours = [print_of(teachers, "made")]
    teachers.write_text(TEACHERS.replace("return {}", "return {} or {}"))
    assert print_of(teachers, "graph") != print_of(same, "graph")
    assert print_of(teachers, "made") == ours[0], "all of its nodes are of the package"


def test_studio_opens_it(teachers: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = cli(
        "studio", "my_teachers.py:graph", "--structure", "skill_list", "--out", tmp_path / "open"
    )
    assert status == 0 and "langgraph dev" in out, err
    server = json.loads((tmp_path / "open" / "langgraph.json").read_text())
    names = {one["path"].rpartition(":")[2] for one in server["graphs"].values()}
    found = runpy.run_path(str(tmp_path / "open" / "studio_graphs.py"))
    assert names == {"episode", "alone"} and "teach" in found["episode"].nodes
    assert "note" in found["teacher"].nodes, "its own node"
    status, _, err = cli("studio", "my_teachers.py:graph", "--out", tmp_path / "open")
    assert status == 1 and "--force" in err
    assert cli("studio", "my_teachers.py:rows", "--out", tmp_path / "open", "--force")[0] == 0


def test_an_episode_of_studio_refuses_a_teacher_by_name(tmp_path: Path) -> None:
    from dataenvgym.graphs.skill_list import graph

    config = EpisodeConfig.model_validate({"structure": "skill_list", "teacher": {"graph": "mine.py:graph"}})
    with pytest.raises(ConfigError, match=r"dataenvgym studio mine\.py:graph"):
        asyncio.run(graph.compile().ainvoke({"run_dir": str(tmp_path / "run")}, context=config))


def test_a_cap_inside_an_own_node_ends_the_episode_and_a_larger_one_goes_on(
    teachers: Path, cli: Cli, small: Small, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    named = ["--teacher", "my_teachers.py:asking"]
    status, out, err = cli("run", *named, "--out", run, *small(**{"budget.max_calls": 1}))
    assert status == 0 and "budget of 1 call used" in out, err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["rows_accepted"] == 0 and summary["stop_reason"] == "budget of 1 call used"
    assert cli("resume", run, "--set", "budget.max_calls=500")[0] == 0
    assert cli("run", *named, "--out", whole, *small())[0] == 0
    mine, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (run, whole))
    assert mine["val"] == theirs["val"] and mine["rows_accepted"] == 24
    assert sum(one["calls"] for one in mine["calls_by_node"] if one["node"] == "label") == 4
