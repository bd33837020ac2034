"""`dataenvgym task`: own data from a file to a finished run, without a line of Python."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from own_files import FILES

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text import own_data
from dataenvgym.envs.types import Row
from dataenvgym.graphs.config import load_config

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_check_shows_how_data_are_asked_and_judged(cli: Cli, here: Path) -> None:
    status, out, err = cli("task", "check", FILES["label"](here))
    assert status == 0, err
    for said in (
        "48 rows: 20 train, 14 val, 14 test",
        "question: text",
        "scorer: label",
        "    Answer with one of: negative, positive. End with 'Answer: X'.\n    The plot of film 0 is",
        "and what it learns to write:\n    Answer: ",
        "right answers: 48 of 48 count as right",
        "wrong answers: 96 of 96 count as wrong",
        "suspicious: nothing",
        "generate_data",
    ):
        assert said in out
    assert out.count("as the student is asked:") == 3


def test_check_fails_where_a_right_answer_is_wrong(cli: Cli, here: Path) -> None:
    file = FILES["text"](here)
    refused = own_data.load(TaskConfig(name="custom", path=str(file))).task.train[0]
    scorer = f"def but_one(item, answer):\n    return item.question != {refused.question!r}\n"
    (here / "own.py").write_text(scorer)
    status, out, _ = cli("task", "check", file, "--set", "task.options.scorer=own.py:but_one")
    assert status == 1 and "right answers: 29 of 30 count as right\n  - " in out
    assert f"{refused.answer!r} is read as {refused.answer!r}, wrong" in out
    assert "count as wrong" in out and "counts as right where" in out  # it accepts anything else


def test_check_names_a_fault_by_its_place(cli: Cli, here: Path) -> None:
    (here / "mine.jsonl").write_text('{"question": "a?", "answer": "b"}\n{"question": "c?"}\n')
    status, _, err = cli("task", "check", "mine.jsonl")
    assert status == 1 and err.startswith("error: mine.jsonl, row 2: no column 'answer'")
    assert "Traceback" not in err


def test_check_is_for_own_data(cli: Cli, here: Path) -> None:
    (here / "c.yaml").write_text("task: {name: arithmetic}\n")
    status, _, err = cli("task", "check", "c.yaml")
    assert status == 1 and "'arithmetic' has no own data" in err


def test_the_ten_lines_of_the_readme_are_a_task(cli: Cli, here: Path) -> None:
    readme = Path(__file__).parents[3] / "README.md"
    if not readme.is_file():
        pytest.skip("the README is not beside these tests")
    _, _, after = readme.read_text(encoding="utf-8").partition("`tickets.csv`:\n\n```text\n")
    (here / "tickets.csv").write_text(after.partition("```")[0])
    status, out, err = cli("task", "check", "tickets.csv")
    assert status == 0, err
    assert "10 rows: 4 train, 3 val, 3 test" in out and "Answer with one of: billing, bug, wish." in out


@pytest.mark.parametrize("scorer", FILES)
def test_init_writes_a_config_that_names_what_was_found(scorer: str, cli: Cli, here: Path) -> None:
    file = FILES[scorer](here)
    status, out, err = cli("task", "init", file, "--set", "task.val_size=5")
    assert status == 0, err
    path = here / f"{file.stem}.yaml"
    assert f"{path.name}: " in out and f"dataenvgym task check {path.name}" in out
    written = yaml.safe_load(path.read_text())["task"]
    assert written["options"]["scorer"] == scorer and written["val_size"] == 5
    config = load_config(path)
    assert (config.task.name, config.task.path, config.task.val_size) == ("custom", str(file), 5)
    status, _, err = cli("task", "init", file)
    assert status == 1 and "is there already. Name another file with --out." in err
    assert cli("task", "init", file, "--out", "other.yaml")[0] == 0


CASES = [
    ("number", "skill_list", "true"),
    ("choice", "skill_tree", "true"),
    ("label", "open_ended", "true"),
    ("label", "skill_tree", "false"),
    ("json", "skill_list", "true"),
    ("text", "skill_tree", "true"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scorer", "structure", "state"), CASES)
def test_a_file_is_taken_from_check_to_report(
    scorer: str, structure: str, state: str, cli: Cli, here: Path
) -> None:
    file = FILES[scorer](here)
    status, out, err = cli("task", "init", file, "--out", "mine.yaml")
    assert status == 0, err
    assert cli("task", "check", "mine.yaml")[0] == 0
    small = {
        "student.name": "tiny",
        "student.generation.max_new_tokens": 4,
        "structure": structure,
        "state": state,
        "task.val_size": 6,
        "task.test_size": 4,
        "budget.iterations": 1,
        "budget.rows_per_iteration": 8,
    }
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    status, out, err = cli("run", "mine.yaml", *settings, "--out", "run")
    assert status == 0, err
    assert "gain on the private test" in out
    summary = json.loads((here / "run" / "summary.json").read_text())
    assert summary["test"]["best"]["n"] == 4 and (here / "run" / "report.html").is_file()
    assert [point["rows"] for point in summary["val"]] == [0, 8]
    last = sorted((here / "run").glob("iterations/001/accepted-*.jsonl"))[-1]
    rows = [Row.model_validate_json(line) for line in last.read_text().splitlines()]
    if scorer == "choice":  # its column of skills is gold
        assert {row.skill for row in rows} <= {"wild", "tame"}
        assert all("\nA) " in row.question for row in rows)
