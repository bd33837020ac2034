"""Sweeps without Ray: the grid, one process per episode, restarts, failures, the table."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.errors import ConfigError, MissingDependencyError, RunFolderError, UnknownNameError
from dataenvgym.envs.types import Prediction
from dataenvgym.sweeps.episode import run_episode
from dataenvgym.sweeps.plan import Sweep, combinations, expand, keys_of, load_sweep, values_of
from dataenvgym.sweeps.results import Record, differences, mean_interval, means, with_areas
from dataenvgym.sweeps.sweep import sweep

Cli = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("warm_processes")

TEACHERS = Path(__file__).parents[3] / "benchmarks" / "teachers.yaml"
BASE = {
    "structure": "skill_list",
    "student": {"name": "tiny", "generation": {"max_new_tokens": 4}},
    "task": {"val_size": 1, "test_size": 1},
    "budget": {"iterations": 1, "rows_per_iteration": 12},
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a sweep of the small config: write(seed=[0, 1]), or with all of the file's keys: write({...})."""

    def make(content: Mapping[str, Any] | None = None, **grid: Any) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(
            yaml.safe_dump({"base": BASE, "grid": grid} if content is None else dict(content), sort_keys=False)
        )
        return path

    return make


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def expanded(**content: Any) -> list[Any]:
    return expand(Sweep.model_validate({"base": BASE, **content}))


VALUES = st.lists(st.one_of(st.integers(), st.booleans(), st.text(max_size=3)), min_size=1, max_size=4)
GRIDS = st.dictionaries(st.text("abc.", min_size=1, max_size=4), VALUES, max_size=4)


@given(GRIDS)
def test_a_grid_has_every_combination_once_and_the_last_key_changes_fastest(grid: dict[str, list[Any]]) -> None:
    found = combinations(grid)
    assert len(found) == math.prod(len(values) for values in grid.values())
    assert all(list(one) == list(grid) for one in found)
    for number, one in enumerate(found):
        rest = number
        for key in reversed(grid):
            rest, at = divmod(rest, len(grid[key]))
            assert one[key] == grid[key][at] and type(one[key]) is type(grid[key][at])


def test_keys_may_be_dotted_or_nested_and_a_bare_value_is_a_list_of_one() -> None:
    dotted = {"task.name": ["arithmetic"], "seed": [0, 1]}
    assert combinations({"task": {"name": "arithmetic"}, "seed": [0, 1]}) == combinations(dotted)


def test_runs_are_grids_of_their_own_and_equal_episodes_are_run_once() -> None:
    found = expanded(
        grid={"state": [True, False], "seed": [0, 1]},
        runs=[{"structure": "skill_tree", "teacher.policy": ["ucb", "random"]}, {"state": True, "seed": 1}],
    )
    assert [e.name for e in found] == [
        "state_true-s0",
        "state_true-s1",
        "state_false-s0",
        "state_false-s1",
        "skill_tree-ucb",
        "skill_tree-random",
    ]
    keys = keys_of(found)
    assert keys == ["state", "seed", "structure", "teacher.policy"]
    assert values_of(found[0], keys) == {
        "state": True,
        "seed": 0,
        "structure": "skill_list",
        "teacher.policy": None,
    }


def test_an_episode_keeps_its_name_when_values_are_added() -> None:
    names = [e.name for e in expanded(grid={"teacher.policy": ["weakest_first"], "seed": [3]})]
    more = [e.name for e in expanded(grid={"teacher.policy": ["llm", "weakest_first"], "seed": [1, 2, 3]})]
    assert names[0] in more and len(set(more)) == 6


def test_values_that_would_share_a_folder_get_folders_of_their_own() -> None:
    models = ["openai:a/b", "openai:a:b", "openai:a"]
    names = [e.name for e in expanded(grid={"teacher.llm.model": models})]
    assert len({name.lower() for name in names}) == 3
    assert names[2] == "openai_a"
    assert all("/" not in name and ":" not in name for name in names)


def test_the_base_may_be_a_file_beside_the_sweep(tmp_path: Path, write: Write) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    plan = load_sweep(write({"base": "base.yaml", "grid": {"seed": [4]}}))
    (only,) = expand(plan)
    assert only.config.student.name == "tiny" and only.config.seed == 4


def test_paths_of_the_config_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("prompts", "model", "tiny"):
        (tmp_path / name).mkdir()
    (only,) = expanded(grid={"teacher.prompts": "prompts", "student.name": "model"})
    assert only.config.teacher.prompts == str(tmp_path / "prompts")
    assert only.config.student.name == str(tmp_path / "model")
    assert only.name == "prompts-model"
    assert expanded(grid={"seed": 0})[0].config.student.name == "tiny", "a registered name is no path"


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ({"gird": {"seed": [0]}}, UnknownNameError, "Did you mean 'grid'"),
        ({"grid": {"seeds": [0]}}, UnknownNameError, "Did you mean 'seed'"),
        ({"grid": {"task.name": ["arithmetic", "arithmetik"]}}, ConfigError, "Did you mean 'arithmetic'"),
        ({"grid": {"seed": []}}, ConfigError, "seed: an empty list"),
        ({"base": {}}, ConfigError, "nothing to vary"),
        ({"grid": {"approve": [True]}}, ConfigError, "without a person"),
        ({"grid": {"seed": [0]}, "resources": {"num_gpus": -1}}, ConfigError, "resources.num_gpus"),
        ({"base": "nowhere.yaml", "grid": {"seed": [0]}}, ConfigError, "nowhere.yaml"),
        ({"base": {"task": "math"}, "grid": {"task.name": ["math"]}}, ConfigError, "holds a value, not keys"),
    ],
)
def test_a_faulty_sweep_is_refused_before_anything_starts(
    content: dict[str, Any], error: type[Exception], said: str, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        sweep(write(content), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_faulty_episodes_are_told_at_once(write: Write) -> None:
    path = write(structure=["open_ended", "skill_tree"], **{"teacher.policy": ["ucb", "wekest_first"]})
    with pytest.raises(ConfigError) as raised:
        expand(load_sweep(path))
    text = str(raised.value)
    assert text.startswith("3 of 4 episodes")
    assert 'structure="open_ended", teacher.policy="ucb"' in text and "'weakest_first'" in text


def test_a_dry_run_lists_the_episodes(cli: Cli, write: Write, tmp_path: Path) -> None:
    status, said, _ = cli("sweep", write(seed=[0, 1]), "--out", tmp_path / "out", "--dry-run")
    assert status == 0 and "s0" in said and "2 episodes" in said
    assert not (tmp_path / "out").exists()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Episodes run here and not in processes of their own, which each take seconds to start; the names run."""
    ran: list[str] = []

    def here(episodes: Any, out: Path, jobs: int, stop: Any) -> Any:
        for episode in episodes:
            ran.append(episode.name)
            log = out / "logs" / f"{episode.name}.log"
            yield episode.name, run_episode(out / episode.name, episode.config.model_dump_json(), log, wait=0)

    monkeypatch.setattr("dataenvgym.sweeps.local.run_local", here)
    return ran


def test_a_sweep_ends_in_a_table_and_is_not_run_again(
    cli: Cli, write: Write, tmp_path: Path, in_process: list[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("sweep", write(state=[True, False], seed=[0, 1]), "--out", out)
    status, said, err = cli(*arguments)
    assert status == 0, err
    assert len(in_process) == 4
    assert "means over seeds" in said and "paired differences" in said
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == in_process
    summary = json.loads((out / "state_false-s1" / "summary.json").read_text())
    last = lines[-1]
    assert last["status"] == "finished" and last["state"] is False and last["seed"] == 1
    assert last["best"] == summary["test"]["best"]["accuracy"]
    assert (last["gain_low"], last["gain_high"]) == (
        summary["test"]["gain"]["low"],
        summary["test"]["gain"]["high"],
    )
    assert last["rows"] == summary["rows_accepted"] and last["cost"] == summary["cost"]
    table = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [row["name"] for row in table] == in_process and table[-1]["state"] == "false"
    comparisons = json.loads((out / "comparisons.json").read_text())
    assert [group["runs"] for group in comparisons["means"]] == [2, 2]
    assert [(d["key"], d["value"], d["pairs"]) for d in comparisons["differences"]] == [("state", False, 2)]
    assert yaml.safe_load((out / "sweep.yaml").read_text())["base"]["student"]["name"] == "tiny"

    assert cli("compare", out, "--json", tmp_path / "all.json")[0] == 0
    compared = json.loads((tmp_path / "all.json").read_text())["differences"]
    assert [{**d, "settings": None} for d in compared] == [
        {**d, "settings": None} for d in comparisons["differences"]
    ]
    assert cli("compare", out / "state_true-s0", out / "state_false-s0", "--html", tmp_path / "p.html")[0] == 0

    status, said, _ = cli(*arguments)
    assert status == 0 and "4 of them finished before" in said
    assert len(in_process) == 4, "nothing was run again"


def test_a_failing_episode_is_recorded_and_the_others_go_on(
    cli: Cli, write: Write, tmp_path: Path, in_process: list[str]
) -> None:
    out = tmp_path / "out"
    models = ["openai:some-model", "scripted"]  # the first has no key
    status, said, _ = cli("sweep", write(**{"teacher.llm.model": models}), "--out", out)
    assert status == 1
    assert "continue with: dataenvgym sweep" in said
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["failed", "finished"]
    assert "OPENAI_API_KEY" in lines[0]["reason"] and lines[0]["best"] is None
    assert "OPENAI_API_KEY" in (out / "logs" / "openai_some-model.log").read_text()


def test_a_folder_of_another_config_is_refused(write: Write, tmp_path: Path, in_process: list[str]) -> None:
    out = tmp_path / "out"
    sweep(write(seed=[0]), out)
    changed = {**BASE, "budget": {"iterations": 2, "rows_per_iteration": 12}}
    with pytest.raises(RunFolderError, match=r"another value of budget\.iterations"):
        sweep(write({"base": changed, "grid": {"seed": [0]}}), out)
    (out / "s1").mkdir()
    (out / "s1" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not a run"):
        sweep(write(seed=[0, 1]), out)
    assert (out / "s1" / "notes.txt").read_text() == "mine"


def test_a_run_that_was_begun_and_killed_at_once_is_begun_again(
    write: Write, tmp_path: Path, in_process: list[str]
) -> None:
    left = tmp_path / "out" / "s0"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{}")
    (left / ".config.yaml.7-7.tmp").write_text("half")
    found = sweep(write(seed=[0]), tmp_path / "out")
    assert [record["status"] for record in found.records] == ["finished"]


def test_two_sweeps_do_not_share_a_folder_at_a_time(write: Write, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(RunFolderError, match="another process"):
        sweep(write(seed=[0]), tmp_path / "out")


def test_jobs_are_for_sweeps_without_ray(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resources"):
        sweep(write(seed=[0]), tmp_path / "out", jobs=2, address="auto")
    with pytest.raises(ConfigError, match="1 or more"):
        sweep(write(seed=[0]), tmp_path / "out", jobs=0)


def test_ray_is_asked_for_and_absent(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dataenvgym\[ray\]'"):
        sweep(write(seed=[0]), tmp_path / "out", address="local")


@pytest.mark.skipif(not TEACHERS.is_file(), reason="there is no benchmarks/ beside the tests")
def test_the_comparison_of_teachers_is_a_valid_sweep() -> None:
    assert len(expand(load_sweep(TEACHERS))) == 18


def finished(name: str, best: float, **settings: Any) -> Record:
    figures = {"base": 0.5, "best": best, "gain": best - 0.5, "val_area": best - 0.1, "rows": 10}
    return Record(name=name, status="finished", reason="", settings=settings, figures=figures)


def test_areas_are_taken_over_the_rows_that_every_run_has() -> None:
    def ran(name: str, curve: list[tuple[int, float]]) -> Record:
        one = finished(name, curve[-1][1])
        return Record(**{**one, "figures": {**one["figures"], "curve": curve}})

    long, short = ran("long", [(0, 0.0), (10, 0.4), (20, 1.0)]), ran("short", [(0, 0.0), (10, 0.4)])
    failed = Record(**{**long, "status": "failed", "figures": {"curve": [], "best": None}})
    first, second, third = with_areas([long, short, failed])
    assert first["figures"]["val_area"] == second["figures"]["val_area"] == pytest.approx(0.2)
    assert first["figures"]["area_rows"] == 10 and third["figures"]["val_area"] is None
    assert with_areas([long])[0]["figures"]["val_area"] == pytest.approx(0.45)
    assert "curve" not in first["figures"]


def test_differences_are_paired_by_seed_and_by_all_other_settings(tmp_path: Path) -> None:
    records = [
        finished("a", 0.50, structure="x", state=True, seed=0),
        finished("b", 0.60, structure="x", state=True, seed=1),
        finished("c", 0.70, structure="x", state=True, seed=2),
        finished("d", 0.45, structure="x", state=False, seed=0),
        finished("e", 0.58, structure="x", state=False, seed=1),
        finished("f", 0.90, structure="x", state=False, seed=9),
        finished("g", 0.80, structure="y", state=True, seed=0),
        finished("h", 0.80, structure="y", state=True, seed=1),
    ]
    records.append(Record(**{**records[2], "name": "i", "status": "failed", "figures": {}}))
    found = differences(records, tmp_path)
    assert [(d["key"], d["value"], d["settings"], d["pairs"]) for d in found] == [
        ("structure", "y", {"state": True}, 2),
        ("state", False, {"structure": "x"}, 2),
    ]
    state = found[1]
    assert state["each"] == pytest.approx([-0.05, -0.02])
    assert state["best"] == pytest.approx(-0.035) and state["over"] == "runs"
    assert state["area_each"] == pytest.approx(state["each"]), "as all areas here are the accuracy less .1"
    assert found[0]["p_holm"] == pytest.approx(2 * found[0]["p"]) and state["p_holm"] == state["p"] > found[0]["p"]
    assert (state["low"], state["high"]) == pytest.approx(
        (-0.035 - 12.7062 * 0.015, -0.035 + 12.7062 * 0.015), abs=1e-4
    )
    assert [(group["settings"], group["runs"]) for group in means(records)] == [
        ({"structure": "x", "state": True}, 3),
        ({"structure": "x", "state": False}, 3),
        ({"structure": "y", "state": True}, 2),
    ]


def test_one_pair_is_compared_by_its_test_instances(tmp_path: Path) -> None:
    for name, right in (("a", "1100"), ("b", "1110")):
        lines = [
            Prediction(id=str(n), skill="s", question="", gold="", text="", answer=None, correct=one == "1")
            for n, one in enumerate(right)
        ]
        (tmp_path / name / "test").mkdir(parents=True)
        (tmp_path / name / "test" / "best.jsonl").write_text("".join(p.model_dump_json() + "\n" for p in lines))
    (found,) = differences([finished("a", 0.5, state=True), finished("b", 0.75, state=False)], tmp_path)
    assert found["over"] == "instances" and found["pairs"] == 1
    assert found["low"] < 0.25 < found["high"]


@pytest.mark.parametrize("key", ["task.seed", "task.name"])
def test_runs_on_other_test_instances_are_no_pair(
    key: str, write: Write, tmp_path: Path, in_process: list[str]
) -> None:
    values = {"task.seed": [0, 1], "task.name": ["arithmetic", "functions"]}[key]
    found = sweep(write(**{key: values, "seed": [0, 1]}), tmp_path / "out")
    assert [record["status"] for record in found.records] == ["finished"] * 4
    assert found.differences == []
    assert [group["runs"] for group in means(found.records)] == [2, 2]
    for one in found.records:  # of a version that recorded no data: one pair has no instance in common
        (tmp_path / "out" / one["name"] / "manifest.json").unlink()
    alone = [record for record in found.records if record["settings"]["seed"] == 0]
    assert differences(alone, tmp_path / "out") == []


def test_data_that_change_within_a_sweep_are_refused_with_the_split(
    cli: Cli, write: Write, tmp_path: Path, in_process: list[str]
) -> None:
    def data(count: int) -> None:
        lines = [json.dumps({"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"}) for n in range(count)]
        (tmp_path / "data.jsonl").write_text("\n".join(lines))

    task = {"name": "gsm8k", "path": str(tmp_path / "data.jsonl"), "val_size": 4, "test_size": 4}
    base = {**BASE, "task": task, "structure": "open_ended"}
    out = tmp_path / "out"
    data(20)
    sweep(write({"base": base, "grid": {"seed": [0]}}), out)
    data(30)
    both = write({"base": base, "grid": {"seed": [0, 1]}})
    status, _, err = cli("sweep", both, "--out", out)
    assert status == 1
    assert "s0 and" in err and "same task settings and other data" in err
    assert "train: 12 instances then, 22 now; val: 4 instances then and now, not the same" in " ".join(err.split())
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["finished", "finished"], "the figures of each run are kept"
    assert list(json.loads((out / "comparisons.json").read_text())) == ["refused"]
    with pytest.raises(RunFolderError, match="cannot compare its runs"):
        sweep(write({"base": base, "grid": {"seed": [0, 1, 2]}}), out)
    assert in_process == ["s0", "s1"], "nothing more was run"


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean_interval([1.0, 2.0, 3.0])  # t = 4.3027 with two degrees of freedom
    assert found == pytest.approx((2.0, 2.0 - 4.3027 / math.sqrt(3), 2.0 + 4.3027 / math.sqrt(3)), abs=1e-4)


def command(file: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "dataenvgym.cli", "sweep", str(file), "--out", str(out), *options]


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    limit = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < limit, process.communicate()[0]
        time.sleep(0.02)


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(write: Write, tmp_path: Path) -> None:
    out, file = tmp_path / "out", write(seed=[0, 1])
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command(file, out), **options)
    until((out / "s0" / "iterations" / "000" / "predictions.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 130, said
    assert "ending after the current work" in said and "continue with: dataenvgym sweep" in said
    assert not (out / "s1").exists()
    went_on = subprocess.run(command(file, out, "--jobs", "2"), **options, timeout=300)
    assert went_on.returncode == 0, went_on.stdout
    log = (out / "logs" / "s0.log").read_text()
    assert log.count(", process ") == 2 and log.count("base: validation accuracy") == 1


@pytest.mark.slow
def test_a_crash_is_one_failed_episode_and_a_killed_sweep_leaves_no_episode_running(
    write: Write, tmp_path: Path
) -> None:
    out, file = tmp_path / "out", write(seed=[0, 1])
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command(file, out), **options)
    until((out / "s0" / "iterations" / "000" / "predictions.jsonl").exists, process)
    os.kill(episode(out, "s0"), signal.SIGKILL)
    until((out / "s1" / "iterations" / "000" / "predictions.jsonl").exists, process)
    first = json.loads((out / "results.jsonl").read_text().splitlines()[0])
    assert first["status"] == "failed" and "SIGKILL" in first["reason"]
    second = episode(out, "s1")
    process.kill()
    process.communicate()
    limit = time.monotonic() + 120
    while alive(second):
        assert time.monotonic() < limit
        time.sleep(0.05)
    went_on = subprocess.run(command(file, out), **options, timeout=300)
    assert went_on.returncode == 0, went_on.stdout


def episode(out: Path, name: str) -> int:
    """The process of an episode, as its log tells."""
    return int((out / "logs" / f"{name}.log").read_text().splitlines()[0].rpartition(" ")[2])


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
