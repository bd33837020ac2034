"""A run folder is its own address: a copy or a moved run goes on as itself, and its original stays as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import DataEnvGymError
from dataenvgym.graphs import episode, teacher
from dataenvgym.graphs.config import load_config
from dataenvgym.runs.extend import extended
from dataenvgym.runs.run import resume, run

Small = Callable[..., list[str]]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(small: Small, out: Path) -> None:
    run(load_config(None, words(small)), out)


def capped(small: Small, out: Path) -> None:
    run(load_config(None, words(small, **{"budget.max_calls": 17, "teacher.rows_per_call": 1})), out)


def broken_in(module: Any, name: str) -> Callable[[Small, Path], None]:
    """A run that ends in a node, as a kill leaves it: a copy, since this process may yet close its files."""

    def begun(small: Small, out: Path) -> None:
        broken = out.with_name("broken")

        def die(*args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, name, die)
            run(load_config(None, words(small)), broken)
        shutil.copytree(broken, out)

    return begun


def words(small: Small, **changes: Any) -> list[str]:
    return [word for word in small(**changes) if word != "--set"]


BEGUN = {
    "ended": ended,
    "at a cap": capped,
    "in the teacher": broken_in(teacher, "verify"),
    "in the training": broken_in(episode, "check_delivery"),
}
MORE = {"ended": ["budget.iterations=3"], "at a cap": ["budget.max_calls=100"]}


@pytest.mark.parametrize("way", ["copied", "moved"])
@pytest.mark.parametrize("state", BEGUN)
def test_it_goes_on_as_itself(state: str, way: str, small: Small, tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "elsewhere" / "other"
    BEGUN[state](small, first)
    before = content(first)
    if way == "copied":
        shutil.copytree(first, other)
    else:
        other.parent.mkdir()
        first.rename(other)
    with extended(other, MORE.get(state, [])):
        summary = resume(other).summary
    assert summary is not None and summary["iterations"] == (3 if state == "ended" else 2)
    assert str(first) not in "".join(
        text.decode(errors="replace") for name, text in content(other).items() if name.endswith(".json")
    )
    if way == "moved":
        assert not first.exists()
        return
    assert content(first) == before
    after = content(other)
    with extended(first, MORE.get(state, [])):
        assert resume(first).summary is not None
    assert content(other) == after


def test_what_cannot_go_on_stays_as_it_was(small: Small, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended(small, out)
    before = content(out)
    with pytest.raises(DataEnvGymError), extended(out, ["budget.iterations=3"]):
        resume(out, teacher=lambda observation: [])  # it was begun without a teacher of its own
    assert content(out) == before
    checkpoints = (out / "checkpoints.sqlite").read_bytes()
    (out / "checkpoints.sqlite").write_bytes(b"no database, " * 100)
    before = content(out)
    with (
        pytest.raises(DataEnvGymError, match="damaged"),
        extended(out, ["budget.iterations=3"]),
    ):
        resume(out)
    assert content(out) == before
    (out / "checkpoints.sqlite").write_bytes(checkpoints)
    with extended(out, ["budget.iterations=3"]):
        assert (resume(out).summary or {})["iterations"] == 3


def test_a_cap_in_the_solve_check_rejects_no_row_and_pays_for_none_twice(small: Small, tmp_path: Path) -> None:
    checks = {"teacher.checks.names": "[format,answer,solve]", "teacher.checks.solve_per_call": 1}
    calls = {"teacher.rows_per_call": 6, "teacher.checks.solve_samples": 1}
    out, whole = tmp_path / "run", tmp_path / "whole"
    summary = run(load_config(None, words(small, **checks, **calls, **{"budget.max_calls": 15})), out).summary
    assert summary is not None and summary["stop_reason"] == "budget of 15 calls used"
    assert summary["rows_accepted"] == 0 and summary["rows_rejected"] == 0, "its rows are unverified"
    with extended(out, ["budget.max_calls=1000"]):
        resumed = resume(out).summary
    unbroken = run(load_config(None, words(small, **checks, **calls)), whole).summary
    assert resumed is not None and unbroken is not None
    assert [point["rows"] for point in resumed["val"]] == [point["rows"] for point in unbroken["val"]]
    asked = (sum(r.attempts for r in Ledger(f / "ledger.jsonl").records()) for f in (out, whole))
    assert len(set(asked)) == 1


def test_more_rows_after_the_row_budget(small: Small, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = run(load_config(None, words(small, **{"budget.rows": 12})), out).summary
    assert summary is not None and summary["stop_reason"] == "row budget of 12 used"
    with extended(out, ["budget.rows=20"]):
        summary = resume(out).summary
    assert summary is not None and [point["rows"] for point in summary["val"]] == [0, 12, 20]
    shown = json.loads((out / "iterations/002/observation.jsonl").read_text())
    assert shown["budget"] == 8


def test_more_rows_after_the_last_iteration(small: Small, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(load_config(None, words(small, **{"budget.rows": 15, "budget.iterations": 1})), out)
    with extended(out, ["budget.rows=100", "budget.iterations=2"]):
        summary = resume(out).summary
    assert summary is not None and [point["rows"] for point in summary["val"]] == [0, 12, 24]
