"""A run that is killed or interrupted anywhere ends, once resumed, with the rows and scores of an unbroken one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import warm

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]

pytestmark = pytest.mark.usefixtures("warm_processes")
DRIVER = Path(__file__).with_name("kill_driver.py")

Kill = Callable[..., tuple[int, str]]
Killed = Callable[[str, list[str]], Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the tiny model and no predictions."""
    from dataenvgym.envs.students.smollm import tiny_folder

    cache = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAENVGYM_CACHE", str(cache))
        tiny_folder()
    return cache


@pytest.fixture(autouse=True)
def fresh_cache(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test, and the processes it starts, with the model and no predictions of another."""
    shutil.copytree(models, tmp_path / "cache")
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def unbroken(models: Path, small: Small, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the small config, run in one go in a process of its own, started as a user starts it."""
    folder = tmp_path_factory.mktemp("unbroken")
    shutil.copytree(models, folder / "cache")
    environment = {**os.environ, "DATAENVGYM_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "dataenvgym.cli", "run", *small(), "--out", str(folder / "run")]
    with warm.using(None):
        subprocess.run(command, env=environment, check=True, capture_output=True)
    return result(folder / "run")


def result(run_dir: Path) -> dict[str, Any]:
    """Rows (to the byte), answers and scores of a run."""
    summary = json.loads((run_dir / "summary.json").read_text())
    keys = (
        "iterations",
        "rows_accepted",
        "rows_rejected",
        "stop_reason",
        "val",
        "skills",
        "test",
        "best_iteration",
    )
    files = [*run_dir.glob("iterations/*/accepted-*.jsonl"), *run_dir.glob("iterations/*/predictions.jsonl")]
    return {
        **{key: summary[key] for key in keys},
        "files": {str(path.relative_to(run_dir)): path.read_bytes() for path in files},
        "students": sorted(path.name for path in (run_dir / "students").iterdir()),
    }


def trainings(run_dir: Path) -> dict[str, int]:
    """Finished trainings, with the time they were written."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in run_dir.glob("students/*/train.json")
        if path.parent.suffix != ".partial"
    }


@pytest.fixture(scope="module")
def driver(models: Path) -> Iterator[subprocess.Popen[str]]:
    """The process that runs the commands to be killed, see DRIVER."""
    with subprocess.Popen(
        [sys.executable, str(DRIVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def command(driver: subprocess.Popen[str], tmp_path: Path) -> Kill:
    """Runs `dataenvgym` in a process of its own that dies at `where`; gives its status and what it said."""

    def call(where: str, *arguments: object) -> tuple[int, str]:
        log = tmp_path / "said.txt"
        log.write_text("")
        order = {
            "where": where,
            "arguments": [str(a) for a in arguments],
            "environment": dict(os.environ),
            "log": str(log),
        }
        assert driver.stdin and driver.stdout
        driver.stdin.write(json.dumps(order) + "\n")
        driver.stdin.flush()
        return int(driver.stdout.readline()), log.read_text()

    return call


@pytest.fixture
def killed(command: Kill, tmp_path: Path) -> Callable[[str, list[str]], Path]:
    """(where, settings) -> the folder of a run that got SIGKILL there."""

    def kill(where: str, settings: list[str]) -> Path:
        run_dir = tmp_path / "run"
        status, said = command(where, "run", *settings, "--out", run_dir)
        assert status == -signal.SIGKILL, said
        assert not (run_dir / "summary.json").exists()
        return run_dir

    return kill


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "trained"),
    [
        ("reset", 0),
        ("after reset", 0),
        ("after read_feedback", 1),
        ("after plan_data", 1),
        ("after generate_data", 1),
        ("after verify_data", 1),
        ("training", 1),
        ("after train", 2),
        ("after evaluate", 2),
        ("test", 2),
    ],
)
def test_after_a_kill_nothing_is_lost_and_nothing_done_twice(
    where: str, trained: int, unbroken: dict[str, Any], killed: Killed, cli: Cli, small: Small
) -> None:
    run_dir = killed(where, small())
    before = trainings(run_dir)
    assert len(before) == trained
    status, out, err = cli("resume", run_dir)
    assert (status, err) == (0, "")
    assert "gain on the private test" in out
    assert result(run_dir) == unbroken
    assert {key: trainings(run_dir)[key] for key in before} == before, "no finished training is repeated"


@pytest.mark.slow
def test_a_run_killed_after_every_node_in_turn_ends_as_an_unbroken_one(
    unbroken: dict[str, Any], command: Kill, small: Small, tmp_path: Path
) -> None:
    """Each process finishes one node, and is killed when the next has done its work but is in no checkpoint."""
    run_dir, left = tmp_path / "run", []
    status, said = command("two nodes", "run", *small(), "--out", run_dir)
    while status == -signal.SIGKILL:
        left += re.findall("^left (.*)$", said, re.MULTILINE)
        assert len(left) < 100
        status, said = command("two nodes", "resume", run_dir)
    assert status == 0, said
    lesson = ["read_feedback", "plan_data", "generate_data", "verify_data", "train", "evaluate"]
    assert left == [node for pair in pairwise(["reset", *lesson, *lesson]) for node in pair]
    assert result(run_dir) == unbroken


@pytest.mark.slow
def test_a_run_killed_between_every_nodes_writes_and_their_checkpoint_ends_as_an_unbroken_one(
    unbroken: dict[str, Any], command: Kill, small: Small, tmp_path: Path
) -> None:
    run_dir, kills = tmp_path / "run", 0
    status, said = command("writes", "run", *small(), "--out", run_dir)
    while status == -signal.SIGKILL:
        kills += 1
        assert kills < 100
        status, said = command("writes", "resume", run_dir)
    assert status == 0, said
    assert kills >= 16, "reset, twice four nodes of the teacher, teach, train and evaluate, finish"
    assert result(run_dir) == unbroken


@pytest.mark.slow
def test_a_killed_generation_does_not_ask_again(
    unbroken: dict[str, Any], killed: Killed, command: Kill, small: Small
) -> None:
    """Resumed by a process of its own; answers that had come before the kill are taken from the cache."""
    run_dir = killed("generation", small())
    before = trainings(run_dir)
    status, said = command("nowhere", "resume", run_dir)
    assert status == 0, said
    assert result(run_dir) == unbroken
    assert {key: trainings(run_dir)[key] for key in before} == before
    ledger = [json.loads(line) for line in (run_dir / "ledger.jsonl").read_text().splitlines()]
    paid = [call["prompt_hash"] for call in ledger if not call["cached"] and call["error"] is None]
    assert len(paid) == len(set(paid))


@pytest.mark.slow
def test_a_damaged_file_of_an_iteration_is_refused(
    unbroken: dict[str, Any], killed: Killed, cli: Cli, small: Small
) -> None:
    run_dir = killed("evaluation", small())
    path = run_dir / "iterations/001/accepted-0.jsonl"
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], whole.replace(b"answer", b"anwser", 1)):
        path.write_bytes(damage)
        status, _, err = cli("resume", run_dir)
        assert status == 1
        assert err.startswith("error: ")
        assert f"{path}: the file was changed or damaged" in err
    path.unlink()
    status, _, err = cli("resume", run_dir)
    assert status == 1
    assert "cannot be read" in err
    path.write_bytes(whole)
    assert cli("resume", run_dir)[0] == 0
    assert result(run_dir) == unbroken


class Running:
    """`dataenvgym run` as a process, followed line by line."""

    def __init__(self, settings: list[str], run_dir: Path) -> None:
        command = [sys.executable, "-m", "dataenvgym.cli", "run", *settings, "--out", str(run_dir)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said, self.ledger = "", run_dir / "ledger.jsonl"

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def until_generating(self) -> None:
        """Wait until the first of the calls for rows is answered; the ledger tells."""
        while not (self.ledger.exists() and "generate_data" in self.ledger.read_text()):
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def until(self, text: str) -> None:
        assert self.process.stdout
        while text not in self.said:
            line = self.process.stdout.readline()
            assert line, f"ended before {text!r}:\n{self.said}"
            self.said += line

    def end(self) -> int:
        self.said += self.process.communicate()[0]
        return self.process.returncode


def one_by_one(small: Small, seconds: float) -> list[str]:
    """A generation of twelve calls, one after another, so that a signal comes while it goes on."""
    return small(**{"teacher.llm.scripted.delay_seconds": seconds, "teacher.llm.max_concurrency": 1})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_run_after_the_node_in_hand(
    number: signal.Signals, unbroken: dict[str, Any], cli: Cli, small: Small, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with Running(one_by_one(small, 0.5), run_dir) as running:
        running.until_generating()
        running.process.send_signal(number)
        assert running.end() == 130
    assert "ending after the current work" in running.said
    assert f"continue with: dataenvgym resume {run_dir}\n" in running.said
    assert "Traceback" not in running.said
    assert (run_dir / "iterations/001/generated-0.jsonl").exists(), "the node in hand was finished"
    assert not (run_dir / "iterations/001/predictions.jsonl").exists(), "and no other was gone through"
    assert cli("resume", run_dir)[0] == 0
    assert result(run_dir) == unbroken


@pytest.mark.slow
def test_the_second_signal_ends_it_at_once(small: Small, tmp_path: Path) -> None:
    with Running(one_by_one(small, 4), tmp_path / "run") as running:
        running.until_generating()
        running.process.send_signal(signal.SIGINT)
        running.until("once more to stop at once")
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 130
    assert not (tmp_path / "run/iterations/001/generated-0.jsonl").exists()
