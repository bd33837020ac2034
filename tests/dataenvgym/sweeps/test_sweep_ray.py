"""A sweep on Ray: a node dies in the middle, and every episode ends as in a sweep without Ray."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.usefixtures("warm_processes"),
]

LIMIT = 400  # seconds for any step
SWEEP = {
    "base": {
        "structure": "skill_list",
        "student": {"name": "tiny", "generation": {"max_new_tokens": 4}},
        "task": {"val_size": 1, "test_size": 1},
        "budget": {"iterations": 2, "rows_per_iteration": 12},
    },
    "grid": {"state": [True, False], "seed": [0, 1]},
    "resources": {"num_cpus": 1},
}
NAMES = ["state_true-s0", "state_true-s1"]

# Two nodes on this machine, of one processor each. Prints the process of the second and the address, and kills the
# second at a line on stdin.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
print("second", second.all_processes["raylet"][0].process.pid, flush=True)
print("address", cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
print("killed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


class Nodes(NamedTuple):
    """A cluster of two nodes, the process of the second, and how that is killed."""

    address: str
    second: int
    kill_second: Callable[[], None]


def environment(cache: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DATAENVGYM_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the loopback interface
    }


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path / "cache"),
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def heard(word: str) -> str:
        return next(line for line in stdout if line.startswith(word)).split()[-1]

    def kill_second() -> None:
        stdin.write("\n")
        stdin.flush()
        heard("killed")

    try:
        second = int(heard("second"))
        yield Nodes(heard("address"), second, kill_second)
    finally:
        stdin.close()
        process.wait(60)


def sweeping(
    file: Path, out: Path, cache: Path, *options: str, inside: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dataenvgym.cli", "sweep", str(file), "--out", str(out), *options]
    return subprocess.Popen(
        [*inside, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(cache)
    )


def made(out: Path) -> dict[str, Any]:
    """Per episode what it found and made, less what differs between any two runs of it: times, and calls that a
    killed process had answered and not yet stored."""
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    figures = {r["name"]: {k: v for k, v in r.items() if k not in ("seconds", "calls")} for r in records}
    kept = ("predictions.jsonl", "accepted-0.jsonl", "plan.jsonl")
    files = {
        name: {
            path.relative_to(out / name).as_posix(): path.read_bytes()
            for path in sorted((out / name).glob("iterations/*/*"))
            if path.name in kept
        }
        for name in figures
    }
    return {"figures": figures, "files": files}


def ancestors(process: int) -> Iterator[int]:
    """A process, its parent, and so on; nothing of one that is gone."""
    with suppress(OSError):
        while process > 1:
            yield process
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_node_that_dies_loses_no_episode(tmp_path: Path, nodes: Nodes) -> None:
    slowly = {
        "model": "scripted",
        "max_concurrency": 1,
        "scripted": {"delay_seconds": 0.2},
    }  # 12 calls an iteration
    two = {**SWEEP, "grid": {"state": [True], "seed": [0, 1]}}  # one on each node
    file, at_once = tmp_path / "two.yaml", tmp_path / "at_once.yaml"
    file.write_text(
        yaml.safe_dump({**two, "base": {**SWEEP["base"], "teacher": {"llm": slowly}}}, sort_keys=False)
    )
    at_once.write_text(yaml.safe_dump(two, sort_keys=False))
    out = tmp_path / "ray"
    sweep = sweeping(file, out, tmp_path / "cache", "--address", nodes.address)

    def halfway(name: str) -> bool:
        """Whether an episode is on the second node, past its base, which is stored before a plan is made."""
        log, steps = out / "logs" / f"{name}.log", out / name / "iterations"
        if not (steps / "001" / "plan.jsonl").exists() or (steps / "001" / "predictions.jsonl").exists():
            return False
        process = int(log.read_text().splitlines()[0].rpartition(" ")[2])
        return nodes.second in ancestors(process)

    until = time.monotonic() + LIMIT
    while not any(map(halfway, NAMES)):
        assert sweep.poll() is None and time.monotonic() < until, sweep.communicate()[0]
        time.sleep(0.02)
    nodes.kill_second()
    said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 0, said

    starts = {name: (out / "logs" / f"{name}.log").read_text().count(", process ") for name in NAMES}
    assert sorted(starts.values()) == [1, 2], "one episode was begun on the node that died, and begun again"
    again = next(name for name, times in starts.items() if times == 2)
    log = (out / "logs" / f"{again}.log").read_text()
    assert log.count("base: validation accuracy") == 1, "it went on where it had stood"

    alone = sweeping(at_once, tmp_path / "alone", tmp_path / "cache-of-its-own", "--jobs", "2")
    assert alone.wait(LIMIT) == 0, alone.communicate()[0]
    assert made(out) == made(tmp_path / "alone")


OWN_TEACHER = """
import dataenvgym


async def look(state):
    return {}


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(graph, "plan_data", "look", look)
"""


def test_ray_on_this_machine_is_started_for_the_sweep_and_ended_with_it(tmp_path: Path) -> None:
    """With a teacher of the user's own, by the name of its file."""
    file, own = tmp_path / "one.yaml", tmp_path / "own.py"
    own.write_text(OWN_TEACHER)
    teacher = {"graph": f"{own}:graph"}
    base = {**SWEEP["base"], "teacher": teacher, "budget": {"iterations": 1, "rows_per_iteration": 12}}
    file.write_text(yaml.safe_dump({"base": base, "grid": {"seed": [0]}}))
    sweep = sweeping(file, tmp_path / "out", tmp_path / "cache", "--address", "local")
    said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 0, said
    assert "s0 finished" in said
    summary = json.loads((tmp_path / "out/s0/summary.json").read_text())
    assert (summary["teacher"]["policy"], summary["rows_accepted"]) == ("own.py:graph", 12)
    assert not any(word in said for word in ("raylet", "dashboard", "Ray instance")), "Ray itself is quiet"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_episodes_on_ray_after_the_work_in_hand(
    tmp_path: Path, stop: signal.Signals
) -> None:
    file = tmp_path / "four.yaml"
    file.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    out = tmp_path / "out"
    sweep = sweeping(file, out, tmp_path / "cache", "--address", "local")
    until = time.monotonic() + LIMIT
    while not list(out.glob("*/iterations/000/predictions.jsonl")):
        assert sweep.poll() is None and time.monotonic() < until, sweep.communicate()[0]
        time.sleep(0.02)
    sweep.send_signal(stop)
    said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 130, said
    assert "continue with: dataenvgym sweep" in said and "Traceback" not in said
    logs = [path.read_text() for path in (out / "logs").glob("*.log")]
    assert any("interrupted; nothing is lost" in log for log in logs)


def test_what_this_machine_cannot_give_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "greedy.yaml"
    file.write_text(yaml.safe_dump({**SWEEP, "resources": {"num_gpus": 64}}))
    sweep = sweeping(file, tmp_path / "out", tmp_path / "cache", "--address", "local")
    said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 1
    assert "an episode asks Ray for" in said and "64" in said


@pytest.mark.parametrize("option", ["the address itself", "auto and RAY_ADDRESS"])
def test_an_address_that_nothing_listens_at_says_how_to_start_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    file = tmp_path / "four.yaml"
    file.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    with socket.socket() as bound:  # and never listening, so that nobody else can
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        if option != "the address itself":
            monkeypatch.setenv("RAY_ADDRESS", address)
            address = "auto"
        sweep = sweeping(file, tmp_path / "out", tmp_path / "cache", "--address", address)
        said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 1
    assert "Connection refused" in said and "ray start --head" in said
    assert "Traceback" not in said and "GCS" not in said


@pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed: apt-get install bubblewrap"
)
def test_a_machine_without_a_cluster_says_how_to_start_one(tmp_path: Path) -> None:
    file = tmp_path / "four.yaml"
    file.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    # `auto` looks for Ray among all processes of the machine and in a file; another test's may be there.
    apart = ("--unshare-pid", "--proc", "/proc", "--tmpfs", "/tmp/ray")
    alone = ("bwrap", "--dev-bind", "/", "/", *apart, "--die-with-parent")
    sweep = sweeping(file, tmp_path / "out", tmp_path / "cache", "--address", "auto", inside=alone)
    said = sweep.communicate(timeout=LIMIT)[0]
    assert sweep.returncode == 1
    assert "ray start --head" in said
    assert "Traceback" not in said
