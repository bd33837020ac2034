"""`dataenvgym verify`: any file of rows is checked, and every line of it is accounted for."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from stub_student import GrowingStudent, registered

from dataenvgym.runs.verification import read_rows

Cli = Callable[..., tuple[int, str, str]]
Lines = Callable[..., Path]
Small = Callable[..., list[str]]
GOOD = {"question": "What is 4471 + 85?", "answer": "4556"}
WRONG = {"question": "What is 4472 + 85?", "answer": "1"}


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    def write(*items: object) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items))
        return path

    return write


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def replies(run: Path) -> int:
    """How many replies the run's cache holds."""
    with closing(sqlite3.connect(run / "responses.sqlite")) as database:
        (table,) = database.execute("select name from sqlite_master where type = 'table'").fetchone()
        (count,) = database.execute(f"select count(*) from {table}").fetchone()
    return int(count)


def test_each_line_is_accepted_or_rejected_with_its_reason(cli: Cli, lines: Lines, tmp_path: Path) -> None:
    path = lines(
        GOOD, {**GOOD, "level": 3}, WRONG, {"question": "What?"}, "not JSON", "[1]", "", {**GOOD, "answer": " "}
    )
    status, out, _ = cli("verify", path, "--checks", "format,answer,duplicate,solve", "--out", tmp_path / "out")
    assert status == 0 and "1 accepted, 6 rejected" in out
    assert [row["question"] for row in read(tmp_path / "out/accepted.jsonl")] == [GOOD["question"]]
    rejected = [record["verdicts"][-1] for record in read(tmp_path / "out/rejected.jsonl")]  # type: ignore[index]
    assert [v["check"] for v in rejected] == [*["schema"] * 3, "duplicate", "format", "solve"]
    assert "line 4" in rejected[0]["reason"] and "answer" in rejected[0]["reason"]


def test_stored_rows_are_judged_anew_without_a_call(
    cli: Cli, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows keep their solutions, so that accepted and rejected ones can be judged again, and otherwise."""
    cli("verify", lines(GOOD, WRONG), "--checks", "solve", "--out", tmp_path / "out")
    monkeypatch.setattr("dataenvgym.agents.llm.gateway.Gateway.items", None)
    for name in ("accepted", "rejected"):
        status, out, _ = cli("verify", tmp_path / f"out/{name}.jsonl", "--checks", "duplicate,solve")
        assert status == 0
        assert ("1 accepted, 0 rejected" if name == "accepted" else "0 accepted, 1 rejected") in out


def test_a_copy_of_val_is_named(cli: Cli, lines: Lines) -> None:
    from dataenvgym.envs.config import TaskConfig
    from dataenvgym.envs.tasks import load_task

    item = load_task(TaskConfig(name="arithmetic")).test[0]
    status, out, _ = cli(
        "verify", lines({"question": item.question, "answer": item.answer}), "--task", "arithmetic"
    )
    assert status == 0 and "0 accepted, 1 rejected" in out and "contamination" in out


def test_the_run_gives_its_config_and_its_replies(cli: Cli, small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("run", *small(), "--set", "teacher.checks.names=[format,solve]", "--out", run)[0] == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.suffix in (".jsonl", ".yaml")}
    cached = replies(run)
    status, out, _ = cli("verify", run / "iterations/001/generated-0.jsonl", "--run", run)
    assert status == 0 and "solve" in out
    assert {p: p.read_bytes() for p in before} == before
    assert replies(run) == cached, "nothing new was asked"


@pytest.fixture
def taught(cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[GrowingStudent, Path]:
    """The stub student, and its run of two iterations with 12 rows each."""
    student, run = registered(tmp_path, monkeypatch), tmp_path / "run"
    student._right = defaultdict(lambda: "no idea", student._right)  # of rows, which it is asked about here
    assert cli("run", *small(**{"student.name": "stub"}), "--out", run)[0] == 0
    return student, run


@pytest.mark.parametrize(
    ("rows", "options", "trained_on", "said"),
    [
        ("own", [], 24, "the student after iteration 2"),
        ("own", ["--student", "last"], 24, "the student after iteration 2"),
        ("own", ["--student", "1"], 12, "the student after iteration 1"),
        ("own", ["--student", "base"], 0, "the base student"),
        ("iterations/002/generated-0.jsonl", [], 12, "the student after iteration 1"),
        ("iterations/002/generated-0.jsonl", ["--student", "last"], 24, "the student after iteration 2"),
        ("iterations/001/generated-0.jsonl", [], 0, "the base student"),
    ],
)
def test_the_student_that_is_asked_is_one_of_the_run_and_is_said(
    rows: str,
    options: list[str],
    trained_on: int,
    said: str,
    taught: tuple[GrowingStudent, Path],
    cli: Cli,
    lines: Lines,
) -> None:
    student, run = taught
    student.load(None if trained_on else next((run / "students").iterdir()))  # another than the expected one
    path = lines(GOOD) if rows == "own" else run / rows
    status, out, _ = cli("verify", path, "--run", run, "--checks", "student", *options)
    assert status == 0 and f"check student: asked {said}" in " ".join(out.split())
    assert student.rows == trained_on


def test_the_best_student_can_be_asked(taught: tuple[GrowingStudent, Path], cli: Cli, lines: Lines) -> None:
    student, run = taught
    best = json.loads((run / "summary.json").read_text())["best_iteration"]
    status, _, _ = cli("verify", lines(GOOD), "--run", run, "--checks", "student", "--student", "best")
    assert (status, student.rows) == (0, 12 * best)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--student", "lats"], "Did you mean 'last'?"),
        (["--student", "7"], "has no student after iteration 7: 0 (the base) to 2"),
        (["--set", "student.name=tiny"], "student.name is 'tiny', but"),
        (["--student", "last", "--checks", "format"], "the check 'student' is not among the checks"),
    ],
)
def test_a_student_that_cannot_be_asked_is_named(
    options: list[str], says: str, taught: tuple[GrowingStudent, Path], cli: Cli, lines: Lines
) -> None:
    status, _, err = cli("verify", lines(GOOD), "--run", taught[1], "--checks", "student", *options)
    assert status == 1 and says in err


def test_without_a_run_there_is_only_the_base(cli: Cli, lines: Lines) -> None:
    checks = ["--checks", "student", "--set", "student.name=tiny"]
    status, out, _ = cli("verify", lines(GOOD), *checks)
    assert status == 0 and "asked the base student" in out
    status, _, err = cli("verify", lines(GOOD), *checks, "--student", "last")
    assert status == 1 and "--run" in err


def test_a_file_that_cannot_be_read_and_unknown_checks_are_named(cli: Cli, lines: Lines) -> None:
    status, _, err = cli("verify", "nowhere.jsonl")
    assert status == 1 and "nowhere.jsonl" in err
    status, _, err = cli("verify", lines(GOOD), "--checks", "solv")
    assert status == 1 and "'solve'" in err


def test_a_line_ends_where_json_lines_do(lines: Lines) -> None:
    rows, broken = read_rows(lines({**GOOD, "question": "one\u2028two\u0085three"}))
    assert not broken and [r.question for r in rows] == ["one\u2028two\u0085three"]


def test_what_a_row_lacks_gets_a_default_and_what_it_has_more_is_kept(lines: Lines) -> None:
    rows, broken = read_rows(lines({**GOOD, "level": 3, "extra": {"a": 1}}, {"row": {**GOOD}, "verdicts": []}))
    assert not broken and [r.id for r in rows] == ["line-1", "line-2"]
    assert rows[0].extra == {"a": 1, "level": 3} and rows[0].provenance.request == "file"
