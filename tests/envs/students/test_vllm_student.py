"""The student behind a vLLM server: what it asks, in which order, and what becomes of the server.

The server here is a stand-in that speaks vLLM's HTTP (fake_vllm.py); tests/dataenvgym/test_vllm_episode.py has the
real one.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataenvgym.envs.config import StudentConfig, TrainConfig, VllmConfig
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError, StudentError
from dataenvgym.envs.students import Student, make_student, vllm_server
from dataenvgym.envs.types import Example

FAKE = Path(__file__).with_name("fake_vllm.py")
PROMPTS = [f"Prompt {'x' * (number % 7)} number {number}" for number in range(70)]
ROWS = [Example(f"What is {n} + 1?", str(n + 1)) for n in range(8)]
Make = Callable[..., Student]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the stand-in notes its calls in; its `python` starts it."""
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("FAKE_VLLM", str(folder))
    monkeypatch.delenv(vllm_server.KEY, raising=False)
    starter = folder / "python"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    starter.chmod(0o755)
    return folder


@pytest.fixture
def student(fake: Path, tmp_path: Path) -> Iterator[Make]:
    """student(sleep="on", ...): the tiny student behind a server of its own."""
    made: list[Student] = []

    def make(
        generation: dict[str, Any] | None = None, train: dict[str, Any] | None = None, **vllm: Any
    ) -> Student:
        config = StudentConfig.model_validate(
            {
                "name": "tiny",
                "engine": "vllm",
                "vllm": {"python": str(fake / "python"), **vllm},
                "generation": {"batch_size": 32, "max_new_tokens": 8, **(generation or {})},
                "train": train or {},
            }
        )
        made.append(make_student(config, None, tmp_path / "run"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def said(folder: Path, name: str = "calls") -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def paths(folder: Path) -> list[str]:
    return [call["path"].removeprefix("/v1/") for call in said(folder)]


def trained(student: Student, out: Path, **settings: Any) -> Path:
    student.train(ROWS, out, config=TrainConfig(lora_rank=4, **settings), seed=0)
    return out


def ended(folder: Path) -> bool:
    """Whether every server that was started is gone, within seconds."""
    pids = [start["pid"] for start in said(folder, "starts")]
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


def answers(prompts: list[str], kept: int = 6) -> list[str]:
    """What the stand-in says to the tiny student's prompts, whose tokens are bytes."""
    return [prompt[-kept:].strip() for prompt in prompts]


def test_answers_come_in_the_order_of_the_prompts(student: Make, fake: Path) -> None:
    told: list[tuple[int, int]] = []
    assert student().predict(PROMPTS, progress=lambda *now: told.append(now)) == answers(PROMPTS)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (70, 70)
    calls = said(fake)
    assert max(len(call["prompt"]) for call in calls) <= 16
    asked = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "max_tokens": 8}
    assert all(call | asked == call for call in calls), "nothing of the model's own generation config has effect"
    assert student().predict([]) == []


def test_the_server_is_started_once_on_loopback_behind_a_key(student: Make, fake: Path, tmp_path: Path) -> None:
    one = student(arguments=["--max-model-len", "512"])
    assert not said(fake, "starts"), "not before it is needed"
    one.predict(PROMPTS[:1])
    one.predict(PROMPTS[:2])
    (start,) = said(fake, "starts")
    text = " ".join(start["arguments"])
    assert "--host 127.0.0.1" in text and "--generation-config vllm" in text and "--max-model-len 512" in text
    assert "--enable-lora" in text and "--max-lora-rank 16" in text and "--enable-sleep-mode" not in text
    key = Path(f"/proc/{start['pid']}/environ").read_bytes().split(b"VLLM_API_KEY=")[1].split(b"\0")[0].decode()
    assert len(key) == 64 and key not in text, "other users see the arguments of a process"
    assert (tmp_path / "run" / "vllm.log").is_file()
    one.close()
    assert ended(fake)
    one.predict(PROMPTS[:1])
    keys = said(fake, "starts")
    assert len(keys) == 2, "it is started again when it is needed"


def test_each_adapter_has_a_name_of_its_own_and_is_unloaded_for_the_next(
    student: Make, fake: Path, tmp_path: Path
) -> None:
    one = student()
    first, second = trained(one, tmp_path / "first"), trained(one, tmp_path / "second")
    for adapter, kept in ((None, 6), (first, 4), (second, 4), (first, 4), (None, 6), (first, 4)):
        one.load(adapter)
        assert one.predict(PROMPTS[:3]) == answers(PROMPTS[:3], kept)
    calls = [call for call in said(fake) if "lora" in call["path"]]
    loaded = [call["lora_name"] for call in calls if "lora_path" in call]
    unloaded = [call["lora_name"] for call in calls if "lora_path" not in call]
    assert [Path(call["lora_path"]).name for call in calls if "lora_path" in call] == ["first", "second", "first"]
    assert len(set(loaded)) == 3, "an old name could be answered from an old cache"
    assert unloaded == loaded[:2], "the last one is kept while the base answers"


def test_an_adapter_that_was_trained_anew_is_loaded_anew(student: Make, fake: Path, tmp_path: Path) -> None:
    one = student()
    for _ in range(2):
        one.load(trained(one, tmp_path / "a"))
        one.predict(PROMPTS[:1])
    assert paths(fake).count("load_lora_adapter") == 2


def test_it_sleeps_while_the_student_trains_and_has_no_adapter_then(
    student: Make, fake: Path, tmp_path: Path
) -> None:
    one = student(sleep="on")
    trained(one, tmp_path / "a")
    assert not said(fake), "a server that is not there is not started to sleep"
    one.load(tmp_path / "a")
    one.predict(PROMPTS[:1])
    trained(one, tmp_path / "b")
    one.load(tmp_path / "b")
    one.predict(PROMPTS[:1])
    assert paths(fake) == [
        *("load_lora_adapter", "completions", "unload_lora_adapter", "/sleep?level=1"),
        *("/wake_up", "load_lora_adapter", "completions"),
    ]
    (start,) = said(fake, "starts")
    assert "--enable-sleep-mode" in start["arguments"]


def test_it_stays_awake_on_a_cpu_and_on_gpus_of_its_own(student: Make, fake: Path, tmp_path: Path) -> None:
    for settings in ({}, {"gpus": "1"}):
        one = student(**settings)
        one.predict(PROMPTS[:1])
        trained(one, tmp_path / f"a{len(settings)}")
    assert "/sleep?level=1" not in paths(fake)
    environment = Path(f"/proc/{said(fake, 'starts')[1]['pid']}/environ").read_bytes()
    assert b"CUDA_VISIBLE_DEVICES=1\0" in environment


def test_a_server_that_dies_is_started_again_once(
    student: Make, fake: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = student()
    one.load(trained(one, tmp_path / "a"))
    one.predict(PROMPTS[:1])
    (fake / "die").touch()
    assert one.predict(PROMPTS) == answers(PROMPTS, 4)
    assert len(said(fake, "starts")) == 2
    assert "Trying once more" in caplog.text
    completed = [
        tuple(prompt) for call in said(fake) if call["path"].endswith("completions") for prompt in call["prompt"]
    ]
    assert len(completed) < 2 * len(PROMPTS) + 1, "what was answered is not asked again"


def test_a_server_that_dies_twice_is_an_error_with_its_log(student: Make, fake: Path) -> None:
    one = student()
    one.predict(PROMPTS[:1])
    (fake / "die").touch()
    (fake / "broken").touch()
    with pytest.raises(StudentError, match=r"(?s)ended instead of starting.*vllm\.log.*no kernel image"):
        one.predict(PROMPTS)
    (fake / "broken").unlink()
    assert one.predict(PROMPTS[:2]) == answers(PROMPTS[:2])


def test_what_is_refused_is_said(student: Make, fake: Path, tmp_path: Path) -> None:
    one = student()
    with pytest.raises(DataError, match="longer than the model's 500 tokens"):
        one.predict([*PROMPTS, "y" * 600])
    with pytest.raises(DataError, match="text only"):
        one.predict(PROMPTS[:1], images=["a.png"])
    (fake / "old").touch()
    with pytest.raises(StudentError, match=r"0\.10\.2"):
        one.predict(PROMPTS[:1])
    with pytest.raises(MissingDependencyError, match=r"no /nowhere/python.*pip install vllm"):
        student(python="/nowhere/python").predict(PROMPTS[:1])
    with pytest.raises(ConfigError, match="at most 512"):
        student(train={"lora_rank": 600}).predict(PROMPTS[:1])


@pytest.mark.parametrize(
    ("device", "visible", "told"), [("cuda:1", None, "1"), ("cuda:1", "4, 6", "6"), ("cuda", "4,6", "4,6")]
)
def test_the_server_runs_on_the_students_gpu(
    device: str, visible: str | None, told: str, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    settings = VllmConfig(python=str(fake / "python"))
    served = vllm_server.ServerSpec("base", "base", "bfloat16", device, 8)
    server = vllm_server.start(settings, served, False, tmp_path / "log")
    try:
        (start,) = said(fake, "starts")
        environment = Path(f"/proc/{start['pid']}/environ").read_bytes().decode().split("\0")
        assert f"CUDA_VISIBLE_DEVICES={told}" in environment
    finally:
        server.close()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_that_is_not_installed_here(student: Make) -> None:
    with pytest.raises(MissingDependencyError, match=r"student\.vllm\.python"):
        student(python=None).predict(PROMPTS[:1])


def test_a_student_trained_whole_gets_a_server_of_its_own(student: Make, fake: Path, tmp_path: Path) -> None:
    one = student(train={"adapter": "full"})
    one.predict(PROMPTS[:1])
    one.load(trained(one, tmp_path / "whole", adapter="full"))
    one.predict(PROMPTS[:1])
    one.predict(PROMPTS[:1])
    first, second = (start["arguments"] for start in said(fake, "starts"))
    assert second[second.index("--model") + 1] == str(tmp_path / "whole")
    assert second[second.index("--tokenizer") + 1] == first[first.index("--model") + 1]
    assert "--enable-lora" not in second
    assert paths(fake) == ["completions"] * 3


def test_a_server_at_an_address(
    student: Make, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vllm_server.KEY, "a key")
    model = student()._trained.plain_model()  # type: ignore[attr-defined]
    with vllm_server.socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, FAKE, "--model", f"/elsewhere/{Path(model).name}", "--port", str(port)]
    )
    try:
        one = student(address=f"http://127.0.0.1:{port}")
        one.load(trained(one, tmp_path / "a"))
        assert one.predict(PROMPTS[:3]) == answers(PROMPTS[:3], 4)
        one.close()
        assert server.poll() is None, "it is not ours to end"
        assert paths(fake)[-1] == "unload_lora_adapter", "nor is anything left in it"
        again = student(address=f"http://127.0.0.1:{port}", sleep="on")
        again.load(tmp_path / "a")
        assert again.predict(PROMPTS[:1]) == answers(PROMPTS[:1], 4)
        forgetful = httpx.Client(headers={"Authorization": "Bearer a key"})
        loaded = said(fake, "calls")[-1]["model"]
        forgetful.post(f"http://127.0.0.1:{port}/v1/unload_lora_adapter", json={"lora_name": loaded})
        assert again.predict(PROMPTS[:3]) == answers(PROMPTS[:3], 4), "its owner has started it anew"
        forgetful.post(f"http://127.0.0.1:{port}/sleep")  # and a run before this was killed while it trained
        late = student(address=f"http://127.0.0.1:{port}", sleep="on")
        assert late.predict(PROMPTS[:1]) == answers(PROMPTS[:1])
        late._rest()  # type: ignore[attr-defined]
        late.close()
        assert paths(fake)[-2:] == ["/sleep?level=1", "/wake_up"], "it is left as it was found"
        with pytest.raises(StudentError, match="trained whole"):
            student(train={"adapter": "full"}, address=f"http://127.0.0.1:{port}/v1").predict(PROMPTS[:1])
        monkeypatch.setenv(vllm_server.KEY, "another")
        with pytest.raises(ConfigError, match=vllm_server.KEY):
            student(address=f"http://127.0.0.1:{port}").predict(PROMPTS[:1])
    finally:
        server.kill()
        server.wait()


def test_an_address_where_nobody_is_or_another_model(
    student: Make, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "CONNECT_SECONDS", 0.5)
    with pytest.raises(StudentError, match=r"127\.0\.0\.1:9/v1 does not answer"):
        student(address="http://127.0.0.1:9").predict(PROMPTS[:1])
    one = student()
    one.predict(PROMPTS[:1])
    (start,) = said(fake, "starts")
    arguments = start["arguments"]
    environment = Path(f"/proc/{start['pid']}/environ").read_bytes().decode().split("\0")
    monkeypatch.setenv(vllm_server.KEY, dict(e.split("=", 1) for e in environment if e)[vllm_server.KEY])
    other = StudentConfig.model_validate(
        {
            "name": str(fake.parent / "other"),
            "engine": "vllm",
            "vllm": {"address": f"http://127.0.0.1:{arguments[arguments.index('--port') + 1]}"},
        }
    )
    shutil.copytree(one._trained.plain_model(), fake.parent / "other")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"serves .*tiny-0, but the student is .*other"):
        make_student(other).predict(PROMPTS[:1])


ALONE = """
import sys, time
from pathlib import Path
from dataenvgym.envs.config import StudentConfig
from dataenvgym.envs.students import make_student
config = StudentConfig.model_validate({"name": "tiny", "engine": "vllm", "vllm": {"python": sys.argv[1]}})
print(make_student(config, None, Path(sys.argv[2])).predict(["a"]), flush=True)
if sys.argv[3] == "wait":
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("ending", ["end", signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_the_process_however_that_ends(ending: Any, fake: Path, tmp_path: Path) -> None:
    how = "end" if ending == "end" else "wait"
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(fake / "python"), str(tmp_path), how], stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline()
    if how == "wait":
        os.kill(process.pid, ending)
    process.wait(60)
    assert ended(fake)
