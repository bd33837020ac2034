"""A full disk and damaged files of a run: one line that says what to do, and nothing that was finished is lost."""

import errno
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs import store
from dataenvgym.graphs import episode

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]


def full(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_database(*args: Any, **kwargs: Any) -> Any:
    raise sqlite3.OperationalError("database or disk is full")


def full_weights(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (store, "write_bytes", full),
        (episode, "check_delivery", full_database),
        (episode, "check_delivery", full_weights),
    ],
)
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    owner: Any, name: str, fault: Any, cli: Cli, small: Small, tmp_path: Path
) -> None:
    settings, out = small(**{"budget.iterations": 1}), tmp_path / "run"
    written = store.write_bytes

    def at_the_plan(path: Path, *more: Any) -> None:
        return full() if path.name == "plan.jsonl" else written(path, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, at_the_plan if owner is store else fault)
        status, _, err = cli("run", *settings, "--out", out)
    assert status == 1 and err.startswith("error: the disk is full") and len(err.splitlines()) == 1
    assert "dataenvgym resume" in err and "Traceback" not in err
    assert cli("resume", out)[0] == 0 and (out / "summary.json").is_file()


@pytest.fixture
def ended(cli: Cli, small: Small, tmp_path: Path) -> Path:
    assert cli("run", *small(**{"budget.iterations": 1}), "--out", tmp_path / "run")[0] == 0
    return tmp_path / "run"


def test_a_summary_that_is_no_object_is_one_line(cli: Cli, ended: Path) -> None:
    (ended / "summary.json").write_text("[1, 2]")
    for command in ("show", "resume"):
        status, _, err = cli(command, ended)
        assert status == 1 and "summary.json is damaged: it is no object" in err and len(err.splitlines()) == 1


def test_timings_that_cannot_be_read_are_passed_over(cli: Cli, ended: Path) -> None:
    (ended / "timings.jsonl").write_bytes(b'\xff\xfe{"phase"\n' + (ended / "timings.jsonl").read_bytes())
    assert cli("resume", ended, "--set", "budget.iterations=2")[0] == 0
    assert json.loads((ended / "summary.json").read_text())["iterations"] == 2


def test_a_cut_adapter_is_named(cli: Cli, small: Small, tmp_path: Path) -> None:
    ended = tmp_path / "run"
    changes = {"budget.iterations": 1, "student.train.start": "last"}
    assert cli("run", *small(**changes), "--out", ended)[0] == 0
    (weights,) = ended.glob("students/*/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])
    status, _, err = cli("resume", ended, "--set", "budget.iterations=2")
    assert (
        status == 1
        and "adapter_model.safetensors" in err
        and "dataenvgym fork" in err
        and len(err.splitlines()) == 1
    )


def test_a_policy_that_the_baseline_replaces_is_said(cli: Cli, small: Small, tmp_path: Path) -> None:
    changes = {"state": "false", "structure": "skill_tree", "teacher.policy": "ucb", "budget.iterations": 1}
    _, out, _ = cli("run", *small(**changes), "--out", tmp_path / "run")
    assert "state: false has a policy of its own, 'coin'; teacher.policy 'ucb' is not used" in " ".join(
        out.split()
    )
