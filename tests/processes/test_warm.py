"""A forked process is what a started one is, seen from both sides."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ABOUT = """
import json, os, sys
print(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "name": __name__, "variable": os.environ.get("OF_THE_TEST"),
    "others": [n for n in os.environ if n.startswith("OF_ANOTHER")], "session": os.getsid(0) == os.getpid(),
    "found": sys.path.index(os.environ["PYTHONPATH"]), "input": sys.stdin.read(),
    "open": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3], "main": sys.modules["__main__"].__name__,
}))
print("said", file=sys.stderr)
"""


@pytest.fixture(params=["started", "forked"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "forked":
        request.getfixturevalue("warm_processes_here")
    return str(request.param)


@pytest.fixture
def warm_processes_here(warm_server: Any) -> Any:
    import warm

    with warm.using(warm_server):
        yield


def test_its_arguments_streams_folder_and_environment(way: str, tmp_path: Path) -> None:
    (tmp_path / "about_it.py").write_text(ABOUT)
    environment = {**os.environ, "OF_THE_TEST": "1", "PYTHONPATH": str(tmp_path)}
    for words, named in (
        (["-c", ABOUT], "-c"),
        (["-m", "about_it"], "about_it.py"),
        (["about_it.py"], "about_it.py"),
    ):
        ended = subprocess.run(
            [sys.executable, *words, "a b", "c"],
            input="read",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
        )
        assert (ended.returncode, ended.stderr) == (0, "said\n")
        told = json.loads(ended.stdout)
        assert Path(told["arguments"][0]).name == named and told["arguments"][1:] == ["a b", "c"]
        assert told["folder"] == str(tmp_path) and told["input"] == "read" and told["variable"] == "1"
        assert told["name"] == told["main"] == "__main__" and told["session"] and told["found"] <= 1
        assert told["open"] == [0, 1, 2] and told["others"] == []


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('why')", 1, "why"),
        ("raise ValueError('what')", 1, "ValueError: what"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
        ("import atexit, sys; atexit.register(lambda: print('last', file=sys.stderr))", 0, "last"),
        (
            "import threading, sys; threading.Timer(.1, lambda: print('later', file=sys.stderr)).start()",
            0,
            "later",
        ),
    ],
)
def test_its_end(way: str, code: str, status: int, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == status and said in ended.stderr


def test_it_is_polled_signalled_and_waited_for(way: str) -> None:
    code = "import time; print('here', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "here\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT or process.returncode == 1
        assert process.poll() == process.returncode
        process.kill()  # nobody is hit


def test_what_it_starts_is_waited_for_too(way: str) -> None:
    code = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", "raise SystemExit(4)"]).returncode)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 4


def test_many_at_once(way: str) -> None:
    code = "import sys, time; time.sleep(.2); sys.exit(int(sys.argv[1]))"
    many = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(6)]
    assert [one.wait(60) for one in many] == list(range(6))


def test_one_that_outlives_who_started_it_harms_no_other(warm_processes_here: None) -> None:
    code = """
import os, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", "raise SystemExit(5)"]).returncode == 5


def test_the_libraries_are_there_and_ours_is_not(warm_processes_here: None) -> None:
    import torch._inductor.config  # noqa: F401  sets a variable of the environment, which must not matter

    code = "import sys; print('torch' in sys.modules, [m for m in sys.modules if m.startswith('dataenvgym')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True []\n"


def test_another_environment_at_import_or_an_option_starts_anew(warm_processes_here: None) -> None:
    code = "import sys; print('torch' in sys.modules)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
    for command, env in (([sys.executable, "-c"], environment), ([sys.executable, "-I", "-c"], None)):
        assert subprocess.run([*command, code], capture_output=True, text=True, env=env).stdout == "False\n"


def test_threads_are_those_of_the_environment(warm_processes_here: None) -> None:
    code = "import torch; print(torch.get_num_threads())"
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert ended.stdout == f"{threads}\n"
