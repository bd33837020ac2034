"""Forks: a new run from an iteration of another, which stays as it is to the byte."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from stub_student import StubStudent, register

from dataenvgym.envs.errors import DataEnvGymError, RunFolderError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Plan, Row
from dataenvgym.graphs import resources
from dataenvgym.graphs.config import load_config
from dataenvgym.graphs.teacher import build_teacher
from dataenvgym.runs.folder import open_run, read_summary
from dataenvgym.runs.fork import fork
from dataenvgym.runs.run import resume, run

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]


class Pupil(StubStudent):
    """Says how many rows it was trained on."""

    def answers(self, prompts: Sequence[str]) -> list[str]:
        return [f"{self.rows} rows"] * len(prompts)

    @property
    def trainings(self) -> int:
        return len(self.trained)

    @property
    def prompts(self) -> int:
        return sum(map(len, self.asked))


@pytest.fixture(scope="module")
def pupil() -> Pupil:
    return Pupil("pupil")


@pytest.fixture(autouse=True, scope="module")
def registered(pupil: Pupil, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The student `pupil`, for the tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        register(pupil, tmp_path_factory.mktemp("cache"), patch)
        yield
    resources.close_all()


@pytest.fixture(scope="module")
def parent(registered: None, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two iterations in the skill tree; only to be read."""
    folder = tmp_path_factory.mktemp("parents") / "run"
    settings = small(**{"student.name": "pupil", "structure": "skill_tree"})[1::2]
    run(load_config(None, settings), folder)
    return folder


def content(run_dir: Path) -> dict[str, str]:
    """Every file and folder, with the sha256 of what it holds."""
    return {
        str(path.relative_to(run_dir)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in run_dir.rglob("*")
    }


@pytest.fixture(autouse=True)
def parent_unchanged(parent: Path) -> Any:
    """Whatever a test does, the parent stays as it is to the byte."""
    before = content(parent)
    yield
    assert content(parent) == before


def rows_of(run_dir: Path, iteration: int) -> list[Row]:
    (last,) = run_dir.glob(f"iterations/{iteration:03d}/accepted-*.jsonl")
    return read_jsonl(last, Row)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A plan of a person's making."""
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump([{"skill": "chain", "subskill": "mine", "count": 5}]))
    return path


def test_an_edited_first_plan_is_what_is_trained_on(
    cli: Cli, parent: Path, edited: Path, pupil: Pupil, tmp_path: Path
) -> None:
    before, out = pupil.trainings, tmp_path / "fork"
    status, said, err = cli("fork", parent, "--at", 1, "--plan", edited, "--out", out)
    assert (status, err) == (0, "")
    assert "gain on the private test" in said
    assert [(row.skill, row.subskill) for row in rows_of(out, 1)] == [("chain", "mine")] * 5
    assert len(rows_of(out, 2)) == 12
    assert pupil.trainings - before == 2
    calls = [call for call in lines_of(out / "ledger.jsonl") if call["node"] == "plan_data"]
    assert 1 not in {call["iteration"] for call in calls}, "the planner was not asked"
    assert 2 in {call["iteration"] for call in calls}
    for run_dir in (parent, out):
        status, said, _ = cli("show", run_dir)
        assert status == 0
        assert "gain on the private test" in said


def test_the_forest_of_the_next_iteration_follows_the_edited_plan(
    parent: Path, edited: Path, tmp_path: Path
) -> None:
    out = fork(parent, 1, plan=edited, out=tmp_path / "fork")
    resume(out)
    seen = read_jsonl(out / "iterations/002/observation.jsonl", Observation)[0]
    leaves = {s.name: [(leaf.name, leaf.allocation, leaf.rows) for leaf in s.subskills] for s in seen.skills}
    assert {name: found for name, found in leaves.items() if found} == {"chain": [("mine", 5, 5)]}


def test_a_fork_without_changes_does_the_same_and_nothing_twice(
    parent: Path, pupil: Pupil, tmp_path: Path
) -> None:
    for at in (1, 2):
        before = pupil.trainings, pupil.prompts
        out = fork(parent, at, out=tmp_path / f"fork-{at}")
        resume(out)
        assert (pupil.trainings, pupil.prompts) == before
        for iteration in (1, 2):
            assert rows_of(out, iteration) == rows_of(parent, iteration)
        ours, theirs = read_summary(out), read_summary(parent)
        assert ours and theirs
        for key in ("val", "test", "skills", "rows_accepted", "best_iteration", "stop_reason"):
            assert ours[key] == theirs[key]
        assert {p.name for p in out.glob("students/*")} == {p.name for p in parent.glob("students/*")}
        new = [call for call in lines_of(out / "ledger.jsonl") if call["iteration"] >= at]
        assert new and all(call["cached"] for call in new)


def test_what_was_before_is_shared_and_no_more(parent: Path, tmp_path: Path) -> None:
    out = fork(parent, 2, out=tmp_path / "fork")
    for folder in ("iterations/000", "iterations/001"):
        assert content(out / folder) == content(parent / folder)
    assert content(out)["iterations/002/observation.jsonl"] == content(parent)["iterations/002/observation.jsonl"]
    assert [p.name for p in (out / "iterations/002").iterdir()] == ["observation.jsonl"]
    assert not (out / "summary.json").exists() and not (out / "test").exists()
    theirs = lines_of(parent / "ledger.jsonl")
    assert lines_of(out / "ledger.jsonl") == [call for call in theirs if call["iteration"] < 2]
    nodes = [line["node"] for line in lines_of(out / "timings.jsonl")]
    assert nodes[:2] == ["reset", "reset"]
    assert nodes[2:] == ["read_feedback", "plan_data", "generate_data", "verify_data", "train", "evaluate"]
    assert [line["node"] for line in lines_of(fork(parent, 1, out=tmp_path / "one") / "timings.jsonl")] == nodes[
        :2
    ]


def test_the_manifest_says_where_a_fork_comes_from(parent: Path, edited: Path, tmp_path: Path) -> None:
    out = fork(parent, 2, plan=edited, overrides=["budget.rows_per_iteration=6"], out=tmp_path / "fork")
    manifest, theirs = (json.loads((folder / "manifest.json").read_text()) for folder in (out, parent))
    origin = manifest["fork"]
    assert Path(origin["parent"]) == parent
    assert origin["iteration"] == 2
    assert origin["parent_config_sha256"] == theirs["config_sha256"] != manifest["config_sha256"]
    assert origin["changes"] == ["budget.rows_per_iteration=6"]
    plan = out / origin["plan"]["path"]
    assert hashlib.sha256(plan.read_bytes()).hexdigest() == origin["plan"]["sha256"]
    plan.write_text(plan.read_text().replace("chain", "double"))
    with pytest.raises(RunFolderError, match="changed or damaged"):
        open_run(out)


def test_settings_change_from_there_on(parent: Path, tmp_path: Path) -> None:
    changes = ["teacher.policy=growth_then_fill", "budget.rows_per_iteration=4", "budget.iterations=3"]
    out = fork(parent, 2, overrides=changes, out=tmp_path / "fork")
    resume(out)
    plans = [read_jsonl(out / f"iterations/00{n}/plan.jsonl", Plan)[0] for n in (1, 2, 3)]
    assert [plan.policy for plan in plans] == ["weakest_first", "growth_then_fill", "growth_then_fill"]
    assert [sum(r.count for r in plan.requests) for plan in plans] == [12, 4, 4]


def test_a_fork_goes_on_from_the_end_and_is_forked_again(
    cli: Cli, parent: Path, edited: Path, pupil: Pupil, tmp_path: Path
) -> None:
    status, _, err = cli("fork", parent, "--at", 3, "--out", tmp_path / "third")
    assert status == 1
    assert "iteration 3 would not start: all 2 iterations done" in err
    third = fork(parent, 3, plan=edited, overrides=["budget.iterations=3"], out=tmp_path / "third")
    resume(third)
    assert [row.skill for row in rows_of(third, 3)] == ["chain"] * 5
    before = pupil.trainings
    again = fork(third, 3, out=tmp_path / "again")
    resume(again)
    assert rows_of(again, 3) == rows_of(third, 3), "the given plan is a part of what is done again"
    assert pupil.trainings == before


def test_a_killed_run_with_unmerged_checkpoints_is_forked(small: Small, parent: Path, tmp_path: Path) -> None:
    """An open reader keeps SQLite from merging its log, as a kill does."""
    first = tmp_path / "first"
    run(load_config(None, small(**{"student.name": "pupil", "approve": "true"})[1::2]), first)
    with sqlite3.connect(first / "checkpoints.sqlite") as reader:
        reader.execute("SELECT count(*) FROM checkpoints").fetchone()
        answers = iter(["yes", None])
        resume(first, approve=lambda _: next(answers))
        killed = shutil.copytree(first, tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    reader.close()
    assert (killed / "checkpoints.sqlite-wal").stat().st_size > 0
    before = content(killed)
    out = fork(killed, 2, overrides=["approve=false"], out=tmp_path / "fork")
    assert content(killed) == before
    assert resume(out).summary is not None
    with pytest.raises(RunFolderError, match="has not reached iteration 3: it can be forked at 1 to 2"):
        fork(killed, 3)


def test_a_run_with_a_teacher_graph_of_its_own(small: Small, edited: Path, tmp_path: Path) -> None:
    teacher = build_teacher("skill_list")
    config = load_config(None, small(**{"student.name": "pupil", "budget.iterations": 1})[1::2])
    first = run(config, tmp_path / "first", teacher=teacher).run_dir
    out = fork(first, 1, out=tmp_path / "fork")
    assert resume(out, teacher=teacher).summary is not None
    assert rows_of(out, 1) == rows_of(first, 1)
    with pytest.raises(DataEnvGymError, match="makes its plans itself"):
        fork(first, 1, plan=edited)


def test_only_made(cli: Cli, parent: Path, tmp_path: Path, pupil: Pupil) -> None:
    before = pupil.trainings
    status, out, _ = cli("fork", parent, "--at", 1, "--no-run", "--out", tmp_path / "fork")
    assert status == 0
    assert f"dataenvgym resume {tmp_path / 'fork'}" in out
    assert pupil.trainings == before
    assert cli("resume", tmp_path / "fork")[0] == 0


def test_without_a_name_it_lies_beside_the_parent(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parent)
    made = [fork(parent, 1), fork(Path(), 1)]
    assert made == [parent.with_name("run-at1"), parent.with_name("run-at1-2")]
    for folder in made:
        shutil.rmtree(folder)


# Refusals. None of them leaves a folder behind.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", 0], "counted from 1"),
        (["--at", 4], "has not reached iteration 4: it can be forked at 1 to 3"),
        (["--at", 1, "--set", "seed=1"], "seed: the earlier iterations were drawn from it"),
        (
            ["--at", 1, "--set", "task.val_size=2"],
            "task.val_size: the earlier iterations were measured on its instances",
        ),
        (["--at", 1, "--set", "student.train.steps=2"], "unknown key"),
        (["--at", 1, "--set", "student.name=tiny"], "student.name: the earlier iterations were measured on it"),
        (["--at", 1, "--set", "structure=skill_list"], "May change: budget.*, teacher.*, approve, imports."),
        (["--at", 2, "--set", "budget.rows=12"], "would not start: row budget of 12 used"),
        (["--at", 2, "--set", "budget.max_calls=2"], "would not start: budget of 2 calls used"),
        (["--at", 1, "--plan", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_forked(arguments: list[Any], said: str, cli: Cli, parent: Path, tmp_path: Path) -> None:
    status, _, err = cli("fork", parent, *arguments, "--out", tmp_path / "fork")
    assert status == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_plan_beyond_the_budget_of_the_fork(parent: Path, edited: Path, tmp_path: Path) -> None:
    with pytest.raises(DataEnvGymError, match="the plan asks for 5 rows; iteration 1 may have 4"):
        fork(parent, 1, plan=edited, overrides=["budget.rows_per_iteration=4"], out=tmp_path / "fork")


def test_a_taken_folder_a_run_in_other_hands_and_what_is_no_run(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="already holds a run"):
        fork(parent, 1, out=parent)
    with pytest.raises(RunFolderError, match="which a fork does not change"):
        fork(parent, 1, out=parent / "fork")
    with FileLock(parent / ".lock"), pytest.raises(RunFolderError, match="being run by another process"):
        fork(parent, 1, out=tmp_path / "fork")
    with pytest.raises(RunFolderError, match="is not a run"):
        fork(tmp_path, 1)
    made = tmp_path / "damaged"
    shutil.copytree(parent, made)
    (made / "checkpoints.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(RunFolderError, match=r"checkpoints\.sqlite is damaged"):
        fork(made, 1, out=tmp_path / "fork")
    assert not (tmp_path / "fork").exists()


def test_a_plan_that_a_person_wrote_in_the_parent_stays_in_a_fork(
    registered: None, small: Small, tmp_path: Path
) -> None:
    def edit(question: dict[str, Any]) -> dict[str, Any]:
        first = question["plan"]["requests"][0]
        return {**question["plan"], "requests": [{**first, "count": 3}]}

    changes = {"student.name": "pupil", "structure": "skill_list", "approve": "true", "budget.iterations": 1}
    run(load_config(None, small(**changes)[1::2]), tmp_path / "run", approve=edit)
    kept = fork(tmp_path / "run", 1, out=tmp_path / "kept")
    assert resume(kept, approve=lambda _: "yes").summary is not None
    assert len(rows_of(kept, 1)) == 3
    anew = fork(tmp_path / "run", 1, overrides=["teacher.policy=llm"], out=tmp_path / "anew")
    assert resume(anew, approve=lambda _: "yes").summary is not None
    assert len(rows_of(anew, 1)) == 12
