"""Training in a process of its own: the same student, and a crash that is an error."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import warm

from dataenvgym.envs.config import StudentConfig, TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.errors import DataError, DivergedError, MissingDependencyError, TrainingError
from dataenvgym.envs.students import make_student, training_process
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.smollm import tiny_folder
from dataenvgym.envs.students.training_process import TrainSpec, train_in_subprocess
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Example, Provenance, Row

pytestmark = pytest.mark.usefixtures("warm_processes")
WEIGHTS = "adapter_model.safetensors"
EXAMPLES = [Example(f"Add {n} and {n}.", f"{n} + {n}\nAnswer: {2 * n}") for n in range(10)]
STUDENT = StudentConfig(name="tiny", device="cpu", dtype="float32")


def config(**settings: Any) -> TrainConfig:
    few = {"batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 1, "lora_rank": 2}
    return TrainConfig.model_validate({**few, **settings})


def tiny() -> TransformersStudent:
    made = make_student(STUDENT)
    assert isinstance(made, TransformersStudent)
    return made


def spec(out: Path, **settings: Any) -> TrainSpec:
    return TrainSpec(
        model=str(tiny_folder()),
        identity="tiny-0",
        student=STUDENT,
        examples=EXAMPLES,
        train=config(**settings),
        seed=3,
        out=out,
    )


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Has the process run this code, written in a module of its own, before the training."""

    def put(code: str) -> None:
        module = tmp_path / "modules" / "faulty_worker.py"
        module.parent.mkdir()
        module.write_text(
            "import sys\nfrom dataenvgym.envs.students import worker, hf\n"
            + textwrap.dedent(code)
            + "\nif __name__ == '__main__':\n    sys.exit(worker.main())\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(module.parent))
        monkeypatch.setattr(training_process, "WORKER", "faulty_worker")

    return put


def test_a_process_of_its_own_makes_the_same_student(tmp_path: Path) -> None:
    here = tiny().train(EXAMPLES, tmp_path / "here", config=config(), seed=3)
    seen: list[tuple[int, int]] = []
    learner = tiny()
    there = learner.train(
        EXAMPLES,
        tmp_path / "there",
        config=config(process=True),
        seed=3,
        progress=lambda *now: seen.append(now),
    )
    assert (tmp_path / "here" / WEIGHTS).read_bytes() == (tmp_path / "there" / WEIGHTS).read_bytes()
    assert (there.steps, there.hits, there.losses) == (here.steps, here.hits, here.losses)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    told = [json.loads(line) for line in (tmp_path / "there" / "train_log.jsonl").read_text().splitlines()]
    assert [t["done"] for t in told] == [1, 2, 3]
    assert [round(t["loss"], 4) for t in told] == there.losses
    assert all(t["tokens_per_second"] > 0 and t["peak_memory_mb"] > 0 for t in told)
    assert json.loads((tmp_path / "there" / "train.json").read_text())["losses"] == there.losses
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "there"]
    learner.load(tmp_path / "there")
    other = tiny()
    other.load(tmp_path / "here")
    assert learner.predict(["Add 1 and 1."]) == other.predict(["Add 1 and 1."])


def test_it_goes_on_from_a_student_and_is_found_under_the_same_key(tmp_path: Path) -> None:
    task = load(TaskConfig(name="arithmetic", val_size=1, test_size=1))
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    lessons = [
        [Row(id=q, question=q, solution="s", answer="1", skill="a", provenance=made) for q in names]
        for names in (("a", "b"), ("c", "d"))
    ]
    keys: list[str | None] = []
    for process in (True, False):
        folder = tmp_path / str(process)
        world = TeacherEnv(task, tiny(), config(start="last", process=process), folder, seed=1)
        first = world.train(lessons[:1], None)
        second = world.train(lessons, first)
        keys += [first, second]
        assert sorted(p.name for p in folder.iterdir()) == sorted([str(first), str(second)])
        assert world.known(lessons, first, second) == {"c": False, "d": False}
        told = world.training(str(second))
        assert (told["steps"], told["micro_batch"], told["notes"]) == (1, 4, [])
        assert told["tokens_per_second"] > 0 and told["peak_memory_mb"] > 0 and told["final_loss"] > 0
    assert keys[:2] == keys[2:]
    for key in keys[:2]:
        one, two = ((tmp_path / name / str(key) / WEIGHTS).read_bytes() for name in ("True", "False"))
        assert one == two


def test_errors_of_the_training_come_through_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"lower student\.train\.learning_rate"):
        train_in_subprocess(spec(tmp_path / "a", learning_rate=1e30, warmup_steps=0))
    with pytest.raises(DataError, match="max_length = 8"):
        train_in_subprocess(spec(tmp_path / "a", max_length=8))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "SIGKILL, which the system also sends when memory runs out",
        ),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("raise ValueError('something unforeseen')", r"(?s)exit status 1.*ValueError: something unforeseen"),
        ("print('so long'); sys.exit(0)", r"(?s)exit status 0.*so long"),
    ],
)
def test_a_crash_is_an_error_and_leaves_no_student(code: str, said: str, broken: Any, tmp_path: Path) -> None:
    """Also in the middle of writing the student."""
    broken(
        f"""
        def write(model, folder, *rest):
            (folder / "{WEIGHTS}").write_text("half")
            {code}
        hf.weights.write = write
        """
    )
    with pytest.raises(TrainingError, match=said):
        train_in_subprocess(spec(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.work" / "spec.json").is_file()


def test_it_is_said_at_once_when_memory_runs_out_there(
    broken: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken(
        """
        import torch
        from dataenvgym.envs.students import loop
        real = loop.completion_logits
        def limited(model, rows, *rest):
            if len(rows) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(model, rows, *rest)
        loop.completion_logits = limited
        """
    )
    with caplog.at_level(logging.WARNING):
        summary = train_in_subprocess(spec(tmp_path / "a"))
    assert summary.micro_batch == 2
    assert "memory ran out with 4 rows" in caplog.text and len(summary.notes) == 1


def test_what_libraries_print_is_no_event(broken: Any, tmp_path: Path) -> None:
    broken("import os; print('{\"event\": \"done\"}'); os.system('echo hello from below')")
    assert train_in_subprocess(spec(tmp_path / "a")).steps == 3


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    for _ in range(600):
        if not alive(pid):
            return True
        time.sleep(0.1)
    return False


FOREVER = """
import os, time
from pathlib import Path
def wait(model, *rest, **more):
    (Path("{pid}.tmp")).write_text(str(os.getpid()))
    os.rename("{pid}.tmp", "{pid}")
    time.sleep(1000)
hf.fit = wait
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_the_process_ends_with_the_one_that_started_it(broken: Any, tmp_path: Path) -> None:
    broken(FOREVER.format(pid=tmp_path / "pid"))
    (tmp_path / "spec.json").write_text(spec(tmp_path / "a").model_dump_json())
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from dataenvgym.envs.students import training_process;"
            "training_process.WORKER = 'faulty_worker';"
            "training_process.train_in_subprocess(training_process.TrainSpec.model_validate_json(Path(sys.argv[1]).read_text()))",
            str(tmp_path / "spec.json"),
        ]
    )
    for _ in range(1200):
        if (tmp_path / "pid").exists() or parent.poll() is not None:
            break
        time.sleep(0.1)
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(child)
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_an_interrupt_here_ends_it_there(broken: Any, tmp_path: Path) -> None:
    interrupt = f"os.kill({os.getpid()}, 2); time.sleep"
    broken(FOREVER.format(pid=tmp_path / "pid").replace("time.sleep", interrupt))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us with &
    try:
        with pytest.raises(KeyboardInterrupt):
            train_in_subprocess(spec(tmp_path / "a"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_launcher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="no command 'no_such_launcher'"):
        tiny().train(EXAMPLES, tmp_path / "a", config=config(launch="no_such_launcher --n 2"), seed=0)


def test_it_can_be_run_by_hand(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(spec(tmp_path / "a", backend="trl").model_dump_json())
    with warm.using(None):  # as a user starts it
        ended = subprocess.run(
            [sys.executable, "-m", "dataenvgym.envs.students.worker", str(tmp_path / "spec.json")],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [e["event"] for e in events] == ["step", "step", "step", "done"]
    assert (tmp_path / "a" / WEIGHTS).is_file() and not (tmp_path / "a.writing").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_several_processes_train_one_student(method: str, adapter: str, tmp_path: Path) -> None:
    """Two of them on the CPU, as on two GPUs: each computes half of every batch.

    `--multi_gpu` is what has accelerate start several; with `--cpu` it starts one without a word.
    """
    if (method, adapter) == ("dpo", "full"):
        pytest.skip("runs in one process")
    examples = EXAMPLES[:8]
    if method == "dpo":
        examples = [e._replace(rejected="no idea") for e in examples]
    settings = {"method": method, "adapter": adapter, "backend": "trl", "batch_size": 4}
    alone = tiny().train(examples, tmp_path / "one", config=config(**settings), seed=0)
    launch = "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    both = tiny().train(examples, tmp_path / "two", config=config(launch=launch, **settings), seed=0)
    assert (both.steps, both.micro_batch) == (alone.steps, 2)
    assert both.losses == pytest.approx(alone.losses, rel=2e-2)
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(
        [*(p.name for p in (tmp_path / "one").iterdir()), "train_log.jsonl"]
    )
    compare(tmp_path / "one", tmp_path / "two")


def compare(one: Path, two: Path) -> None:
    import torch
    from safetensors.torch import load_file

    (mine,), (theirs,) = one.glob("*.safetensors"), two.glob("*.safetensors")
    other = load_file(str(theirs))
    for name, weight in load_file(str(mine)).items():
        torch.testing.assert_close(weight, other[name], rtol=1e-2, atol=1e-3)
