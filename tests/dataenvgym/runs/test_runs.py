"""Run folders: making, opening, refusing; what the manifest says."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import dataenvgym
from dataenvgym.envs.errors import RunFolderError
from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.graphs.teacher import build_teacher
from dataenvgym.runs.folder import create, open_run, read_summary
from dataenvgym.runs.run import resume, run

Small = Callable[..., list[str]]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return create(load_config(None, ["student.name=tiny"]), tmp_path / "run")


@pytest.mark.parametrize("start", ["base", "last"])
def test_the_leaves_keep_their_state_however_training_starts(start: str, small: Small, tmp_path: Path) -> None:
    changes = {"structure": "skill_tree", "student.train.start": start, "budget.iterations": 3}
    run(load_config(None, small(**changes)[1::2]), tmp_path / "run")
    for number in (2, 3, 4):
        (line,) = (tmp_path / f"run/iterations/{number:03d}/observation.jsonl").read_text().splitlines()
        leaves = [leaf for skill in json.loads(line)["skills"] for leaf in skill["subskills"] if leaf["rows"]]
        assert leaves and all(leaf["n"] == min(8, leaf["rows"]) for leaf in leaves)
        assert all(leaf["accuracy"] is not None and leaf["known_before"] is not None for leaf in leaves)


def test_a_run_starts_with_its_config_and_manifest(made: Path) -> None:
    assert {p.name for p in made.iterdir()} == {"config.yaml", "manifest.json"}
    assert open_run(made) == load_config(None, ["student.name=tiny"])
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["config_sha256"] == hashlib.sha256((made / "config.yaml").read_bytes()).hexdigest()
    assert manifest["seed"] == 0
    assert manifest["packages"]["torch"]
    assert set(manifest) >= {"created", "git_commit", "python", "platform", "cpus"}
    assert read_summary(made) is None


def test_a_run_is_named_by_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = create(load_config(None, ["seed=7", "structure=skill_list"]), None)
    assert made.parent.name == "runs"
    assert made.name.endswith("-arithmetic-skill_list-s7")


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-120000")
    names = [create(load_config(None, ["seed=7"]), None).name for _ in range(3)]
    first = "20260101-120000-arithmetic-skill_tree-s7"
    assert names == [first, f"{first}-2", f"{first}-3"]


def test_no_folder_is_written_into_twice(made: Path) -> None:
    with pytest.raises(RunFolderError, match=r"already holds a run.*dataenvgym resume"):
        create(EpisodeConfig(), made)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(RunFolderError, match="not empty"):
            create(EpisodeConfig(), taken)
    (tmp_path / "empty").mkdir()
    assert create(EpisodeConfig(), tmp_path / "empty").is_dir()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be created"):
        create(EpisodeConfig(), tmp_path / "file" / "run")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunFolderError, match="not a run"):
            resume(folder)


def test_an_edited_config_is_refused(made: Path) -> None:
    config = made / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(RunFolderError, match=r"config\.yaml was changed after the run was started"):
        resume(made)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"seed": 0}'])
def test_a_damaged_manifest_is_refused(content: str | None, made: Path) -> None:
    path = made / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json is missing or damaged"):
        resume(made)


def test_a_config_of_another_version_is_refused(made: Path) -> None:
    text = (made / "config.yaml").read_text() + "gone: 1\n"
    (made / "config.yaml").write_text(text)
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["config_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunFolderError, match=r"another version.*\n.*gone: unknown key"):
        resume(made)


def test_two_processes_do_not_run_one_run(made: Path) -> None:
    with FileLock(made / ".lock"), pytest.raises(RunFolderError, match="being run by another process"):
        resume(made)


def test_a_run_goes_on_with_the_teacher_it_was_begun_with(tmp_path: Path) -> None:
    config = load_config(None, ["student.name=tiny"])
    own = create(config, tmp_path / "own", teacher=build_teacher(config.structure))
    with pytest.raises(RunFolderError, match=r"its own teacher graph.*dataenvgym\.resume\("):
        resume(own)
    with pytest.raises(RunFolderError, match="structure's own teacher"):
        resume(create(config, tmp_path / "ours"), teacher=object())


def test_a_checkpoint_file_that_is_none_is_refused(made: Path) -> None:
    (made / "checkpoints.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(RunFolderError, match=r"checkpoints\.sqlite is damaged"):
        resume(made)


def test_a_damaged_summary_is_refused(made: Path) -> None:
    (made / "summary.json").write_text('{"task": ')
    with pytest.raises(RunFolderError, match=r"summary\.json is damaged"):
        resume(made)


@pytest.mark.parametrize("name", dataenvgym.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(dataenvgym, name) is not None


def test_an_unknown_public_name(monkeypatch: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = dataenvgym.runn


def test_a_run_works_within_a_running_event_loop_as_in_a_notebook(tmp_path: Path) -> None:
    small = ("student.name=tiny", "student.generation.max_new_tokens=4", "task.val_size=1", "task.test_size=1")
    config = load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=12"])

    async def cell() -> Any:
        return dataenvgym.run(config, tmp_path / "run")

    outcome = asyncio.run(cell())
    assert outcome.summary["stop_reason"] == "all 1 iterations done"
