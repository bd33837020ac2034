"""The student in several Ray actors answers and learns as the student alone does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.usefixtures("warm_processes"),
]

# Runs what it reads, {code, folder} as JSON, and prints what came of it. A process of its own, since Ray starts
# there and stays; one for all tests that want the same Ray, which takes seconds to start.
DRIVER = """
import gc, json, os, signal, sys, traceback
from functools import partial
from pathlib import Path
from dataenvgym.envs.config import GenerationConfig, ReplicaConfig, StudentConfig, TrainConfig
from dataenvgym.envs.errors import DataEnvGymError
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.replicas import ReplicatedStudent
from dataenvgym.envs.types import Example

single = StudentConfig(name="tiny", generation=GenerationConfig(max_new_tokens=4))
prompts = [f"What is {n} + {n * n}?" for n in range(21)]
rows = [Example(f"What is {n} + 1?", str(n + 1)) for n in range(12)]

class Untrained:
    def load(self, adapter):
        pass

    def close(self):
        pass

known = dict(globals())
for line in sys.stdin:
    order = json.loads(line)
    names = {**known, "out": Path(order["folder"])}
    try:
        exec(order["code"], names)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("failed")
    sys.stdout.flush()
    names.clear()  # and with them the actors
    gc.collect()
"""
Told = Callable[[str], Any]


@contextmanager
def drivers() -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield process
        process.communicate()


@pytest.fixture(scope="module")
def driver(warm_processes: None) -> Iterator["subprocess.Popen[str]"]:
    with drivers() as process:
        yield process


def ask(process: "subprocess.Popen[str]", code: str, folder: Path) -> Any:
    """What the code prints as JSON; Ray may say something of a death."""
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"code": code, "folder": str(folder)}) + "\n")
    process.stdin.flush()
    said = ""
    for line in process.stdout:
        if line.startswith(("[", "{")):
            return json.loads(line)
        said += line
        assert line != "failed\n", said
    raise AssertionError(f"the process has ended: {said}")


@pytest.fixture
def told(driver: "subprocess.Popen[str]", tmp_path: Path) -> Told:
    return lambda code: ask(driver, code, tmp_path)


def test_replicas_answer_in_order_and_learn_as_the_student_alone(told: Told) -> None:
    found = told(
        """
alone = make_student(single)
student = ReplicatedStudent(partial(make_student, single), ReplicaConfig(count=2), shard=4)
keys = [
    student.base_key == alone.base_key, student.generation_key == alone.generation_key,
    student.answer_key(prompts) == alone.answer_key(prompts) != alone.answer_key(prompts[1:]),
    student.shown("x") == alone.shown("x"),
]
seen = []
before = student.predict(prompts, progress=lambda done, total: seen.append((done, total)))
config = TrainConfig(learning_rate=0.05)
summary = student.train(rows, out / "trained", config=config, seed=0)
other = alone.train(rows, out / "alone", config=config, seed=0)
moved = (out / "trained").rename(out / "moved")
student.load(moved)
alone.load(out / "alone")
after = student.predict(prompts)
same_after = after == alone.predict(prompts)
student.load(None)
alone.load(None)
print(json.dumps({
    "keys": keys, "seen": seen, "rows": [summary.rows, other.rows],
    "losses": [summary.final_loss, other.final_loss],
    "before": before == alone.predict(prompts), "after": same_after, "changed": before != after,
    "again": student.predict(prompts) == before,
    "files": sorted(p.name for p in moved.iterdir()) == sorted(p.name for p in (out / "alone").iterdir()),
}))
"""
    )
    assert found["keys"] == [True] * 4
    assert [done for done, _ in found["seen"]] == sorted(done for done, _ in found["seen"])
    assert found["seen"][-1] == [21, 21] and len(found["seen"]) == 6
    assert found["rows"] == [12, 12] and found["losses"][0] == pytest.approx(found["losses"][1])
    assert found["before"] and found["after"] and found["changed"] and found["again"] and found["files"]


def test_a_replica_that_dies_is_replaced_once_and_its_prompts_are_asked_again(told: Told) -> None:
    found = told(
        """
class Mortal(Untrained):
    base_key, generation_key = "mortal", "mortal"

    def __init__(self, deaths):
        self.deaths = deaths

    def predict(self, prompts, images=None, progress=None):
        for n in range(self.deaths):
            try:
                (out / f"death-{n}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return [prompt.upper() for prompt in prompts]

once = ReplicatedStudent(partial(Mortal, 1), ReplicaConfig(count=2), shard=3).predict(prompts)
for mark in out.glob("death-*"):
    mark.unlink()
try:
    ReplicatedStudent(partial(Mortal, 99), ReplicaConfig(count=2), shard=3).predict(prompts)
    error = None
except DataEnvGymError as raised:
    error = str(raised)
deaths = len(list(out.glob("death-*")))
print(json.dumps({"once": once == [p.upper() for p in prompts], "error": error, "deaths": deaths}))
"""
    )
    assert found["once"]
    assert "died twice" in found["error"]
    assert found["deaths"] == 4  # two replicas, each and its replacement


def test_what_the_student_raises_comes_through_as_it_is(told: Told) -> None:
    found = told(
        """
student = ReplicatedStudent(partial(make_student, single), ReplicaConfig(count=1))
said = []
for work in (
    lambda: student.predict(prompts, images=["image"] * len(prompts)),
    lambda: student.train([], out / "none", config=TrainConfig(), seed=0),
    lambda: ReplicatedStudent(partial(make_student, single), ReplicaConfig(count=1, num_gpus=64)),
):
    try:
        work()
    except DataEnvGymError as error:
        said.append([type(error).__name__, str(error)])
print(json.dumps(said))
"""
    )
    assert [name for name, _ in found] == ["DataError", "DataError", "ConfigError"]
    assert found[0][1] == "student 'tiny' reads text only, but images were given"
    assert "64" in found[2][1] and "this machine has" in found[2][1]


def test_training_may_ask_for_an_actor_of_its_own(told: Told) -> None:
    found = told(
        """
student = ReplicatedStudent(partial(make_student, single), ReplicaConfig(count=2, train_gpus=0))
before = student.predict(prompts)
student.train(rows, out / "trained", config=TrainConfig(learning_rate=0.05), seed=0)
student.load(out / "trained")
changed = student.predict(prompts) != before
student.close()
student.load(None)
print(json.dumps([changed, student.predict(prompts) == before]))
"""
    )
    assert found == [True, True]


def test_a_replica_sees_the_gpus_that_it_asked_for_and_no_others(tmp_path: Path) -> None:
    """Ray takes our word for the GPUs; what it tells a worker of them is all that is looked at."""
    code = """
os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
import ray

ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

class Sees(Untrained):
    base_key, generation_key = "sees", "sees"

    def predict(self, prompts, images=None, progress=None):
        return [os.environ["CUDA_VISIBLE_DEVICES"]] * len(prompts)

seen = []
for gpus in (0, 1):
    student = ReplicatedStudent(Sees, ReplicaConfig(count=2, num_gpus=gpus), shard=1)
    seen.append(sorted(set(student.predict(prompts))))
    student.close()
print(json.dumps(seen))
"""
    with drivers() as process:  # with a Ray of its own
        found = ask(process, code, tmp_path)
    assert found[0] == [""]
    assert found[1] and set(found[1]) <= {"0", "1"}  # a slow starter may be left without a prompt
