"""The command line: fast help, lists, and one message without a traceback for a user's mistake."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]

HEAVY = (
    *("torch", "transformers", "peft", "trl", "datasets", "langgraph", "langchain", "langchain_core", "openai"),
    *("numpy", "scipy", "sympy", "math_verify", "reasoning_gym", "sqlite3", "asyncio"),
)


def refused(said: tuple[int, str, str]) -> str:
    """The one error message of a refused command."""
    status, _, err = said
    assert status == 1
    assert err.startswith("error: ")
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["nonsense"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom dataenvgym.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_shows_every_command_and_examples(cli: Cli) -> None:
    status, out, _ = cli("--help")
    assert status == 0
    for word in ("run", "resume", "show", "list", "graph", "examples:"):
        assert word in out


def test_an_unknown_command_is_a_usage_error(cli: Cli) -> None:
    status, _, err = cli("rnu")
    assert status == 2
    assert "'run'" in err


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("tasks", ["arithmetic", "math", "gsm8k"]),
        ("students", ["uneven", "smollm2", "tiny"]),
        ("teachers", ["scripted", "openai:MODEL", "anthropic:MODEL"]),
        ("structures", ["open_ended", "skill_list", "skill_tree"]),
        ("policies", ["llm", "weakest_first", "growth_then_fill"]),
        ("config", ["budget.iterations", "teacher.llm.model", "seed"]),
    ],
)
def test_lists(what: str, words: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = cli("list", what)
    assert status == 0
    assert [word for word in words if word not in out] == []


def test_an_unknown_list_names_the_known_ones(cli: Cli) -> None:
    status, _, err = cli("list", "modles")
    assert status == 2
    assert "students" in err


@pytest.mark.parametrize("structure", ["open_ended", "skill_list", "skill_tree"])
def test_graph_prints_mermaid_with_the_nodes(structure: str, cli: Cli) -> None:
    status, out, _ = cli("graph", structure)
    assert status == 0
    assert "graph TD" in out
    for node in ("reset", "read_feedback", "plan_data", "approve_plan", "generate_data", "verify_data", "train"):
        assert node in out


def test_graph_of_an_unknown_structure(cli: Cli) -> None:
    assert "Did you mean 'skill_tree'?" in refused(cli("graph", "skil_tree"))


# A user's mistakes. None of them leaves a run folder behind.


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("task.name", "aritmetic", "Did you mean 'arithmetic'?"),
        ("student.name", "tinny", "Did you mean 'tiny'?"),
        ("structure", "skil_list", "Did you mean 'skill_list'?"),
        ("teacher.policy", "weakest", "Did you mean 'weakest_first'?"),
        ("teacher.llm.model", "opena:gpt", "Did you mean 'openai'?"),
        ("teacher.llm.model", "gpt-4o", "provider:model"),
        ("budget.iteration", "3", "Did you mean 'budget.iterations'?"),
        ("budget.iterations", "three", "budget.iterations: Input should be a valid integer"),
        ("budget.iterations", "0", "budget.iterations: Input should be greater than or equal to 1"),
        ("budget.target", "80", "budget.target: Input should be less than or equal to 1"),
    ],
)
def test_wrong_settings(key: str, value: str, said: str, cli: Cli, small: Small, tmp_path: Path) -> None:
    assert said in refused(cli("run", *small(**{key: value}), "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher.llm.model": "openai:gpt-4o-mini"}, "set the environment variable OPENAI_API_KEY"),
        ({"teacher.llm.model": "azure_openai:x"}, "OPENAI_API_VERSION"),
        ({"student.name": "nobody/nothing"}, "no model can be loaded from 'nobody/nothing'"),
        ({"task.name": "gsm8k", "task.path": "/none"}, "no file or folder '/none'"),
        ({"skills": "/none.json"}, "/none.json"),
    ],
)
def test_something_is_missing(changes: dict[str, str], said: str, cli: Cli, small: Small, tmp_path: Path) -> None:
    err = refused(cli("run", *small(**changes), "--out", tmp_path / "run"))
    assert said in err
    assert not list(tmp_path.glob("run/iterations/*/predictions.jsonl")), "told before any evaluation"


def test_the_package_of_a_provider_is_named(cli: Cli, small: Small, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-not-a-key")
    monkeypatch.setitem(sys.modules, "langchain_groq", None)
    err = refused(cli("run", *small(**{"teacher.llm.model": "groq:x"}), "--out", tmp_path / "run"))
    assert "pip install langchain-groq" in err


def test_a_config_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    assert "cannot be read" in refused(cli("run", tmp_path / "none.yaml"))


def test_the_exit_status_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dataenvgym.cli", "run", "--set", "task.name=mth"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: unknown task 'mth'\. Did you mean 'math'\?.*\n", done.stderr)


# Runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, made by the command line in the default place of a folder of its own."""
    from dataenvgym.graphs.config import load_config
    from dataenvgym.runs.run import run

    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = ("student.name=tiny", "task.val_size=1", "task.test_size=1", "budget.iterations=1")
    small = ("student.generation.max_new_tokens=4", "budget.rows_per_iteration=12")
    run(load_config(None, [*settings, *small]), folder)
    return folder


def test_run_shows_the_outcome(cli: Cli, small: Small, tmp_path: Path) -> None:
    out_dir = tmp_path / ("a [long] name " + "x" * 80)
    status, out, err = cli("run", *small(), "--out", out_dir)
    assert (status, err) == (0, "")
    for said in (
        "base: validation accuracy",
        "iteration 2",
        "gain on the private test",
        "a test instrument",
    ):
        assert said in out
    assert f"run folder: {out_dir}\n" in out, "in one line, to be copied"
    assert f"all files are in {out_dir}\n" in out
    status, shown, _ = cli("show", out_dir)
    assert status == 0
    assert shown.strip() in out


def test_the_prompt_is_shown_as_the_model_gets_it(
    cli: Cli, finished: Path, copied: Callable[[], Path], small: Small, tmp_path: Path
) -> None:
    text = (finished / "prompt.txt").read_text()
    assert text.startswith("<|im_start|>user\n") and text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    first = json.loads((finished / "iterations/000/predictions.jsonl").read_text().splitlines()[0])
    assert first["question"] in text
    assert cli("show", finished, "--prompt") == (0, text + "\n", "")
    run_dir = copied()
    (run_dir / "summary.json").unlink()
    assert cli("show", run_dir, "--prompt")[:2] == (0, text + "\n"), "also of a run that has not ended"
    (run_dir / "prompt.txt").unlink()
    assert "prompt.txt cannot be read" in refused(cli("show", run_dir, "--prompt"))


def test_a_run_says_how_many_answers_came_from_the_cache(
    cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))
    for name, cached in (("first", 0), ("again", 1)):
        status, out, _ = cli("run", *small(), "--out", tmp_path / name)
        found = json.loads((tmp_path / name / "summary.json").read_text())["answers"]
        # The base and two students on 12 val instances, the base and perhaps the best on 12 of test.
        assert status == 0 and found["asked"] in (48, 60)
        assert f"the student's answers: {found['asked']}, {found['cached']} of them from the cache" in out
        assert found["cached"] == cached * found["asked"]


def test_resume_of_a_finished_run_shows_it_again(cli: Cli, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.json*")}
    status, out, _ = cli("resume", finished)
    assert status == 0
    assert "gain on the private test" in out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.json*")} == before


def test_a_deleted_summary_is_made_again(cli: Cli, finished: Path, copied: Callable[[], Path]) -> None:
    run_dir = copied()
    (run_dir / "summary.json").unlink()
    assert "has not finished" in refused(cli("show", run_dir))
    assert cli("resume", run_dir)[0] == 0
    new, old = (json.loads((folder / "summary.json").read_text()) for folder in (run_dir, finished))
    assert new == old


def test_an_existing_run_is_not_overwritten(cli: Cli, small: Small, finished: Path) -> None:
    assert "already holds a run" in refused(cli("run", *small(), "--out", finished))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the finished run, to be damaged."""
    import shutil

    return lambda: shutil.copytree(finished, tmp_path / "copy")


@pytest.mark.parametrize("command", ["resume", "show"])
def test_what_is_no_run(command: str, cli: Cli, tmp_path: Path) -> None:
    assert "is not a run" in refused(cli(command, tmp_path))


@pytest.mark.parametrize("command", ["resume", "show"])
def test_a_changed_config(command: str, cli: Cli, copied: Callable[[], Path]) -> None:
    run_dir = copied()
    path = run_dir / "config.yaml"
    path.write_text(path.read_text().replace("iterations: 1", "iterations: 2"))
    assert "was changed after the run was started" in refused(cli(command, run_dir))


@pytest.mark.parametrize("command", ["resume", "show"])
def test_a_damaged_summary(command: str, cli: Cli, copied: Callable[[], Path]) -> None:
    run_dir = copied()
    (run_dir / "summary.json").write_text("{")
    assert "summary.json is damaged" in refused(cli(command, run_dir))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_checkpoint(share: float, cli: Cli, copied: Callable[[], Path]) -> None:
    run_dir = copied()
    (run_dir / "summary.json").unlink()
    path = run_dir / "checkpoints.sqlite"
    os.truncate(path, int(path.stat().st_size * share))
    assert "checkpoints.sqlite is damaged" in refused(cli("resume", run_dir))


def test_a_run_in_other_hands(cli: Cli, copied: Callable[[], Path]) -> None:
    run_dir = copied()
    (run_dir / "summary.json").unlink()
    with FileLock(run_dir / ".lock"):
        assert "being run by another process" in refused(cli("resume", run_dir))


def test_approval_is_asked_for(cli: Cli, small: Small, tmp_path: Path, monkeypatch: Any) -> None:
    settings = small(approve="true", **{"budget.iterations": 1})
    status, out, _ = cli("run", *settings, "--out", tmp_path / "run")
    assert status == 130, "no terminal, nobody to ask"
    assert f"dataenvgym resume {tmp_path / 'run'}\n" in out and "waits for approval" in out
    answers = iter(["no", "yes"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    status, out, _ = cli("resume", tmp_path / "run")
    assert status == 130 and "refused" in out
    status, out, _ = cli("resume", tmp_path / "run")
    assert status == 0
    assert "gain on the private test" in out


def test_its_end_does_not_search_for_garbage() -> None:
    """Once torch is loaded that takes 2 s of processor time, and all goes anyway."""
    code = (
        "import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "from dataenvgym.cli import main\nmain(['list', 'tasks'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
