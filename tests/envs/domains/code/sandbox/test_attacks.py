"""Programs that mean harm: each is contained and reported, the host unharmed, and others judged as before."""

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import ANSWER, SAY, WRONG

from dataenvgym.envs.domains.code.sandbox import (
    CallTest,
    Isolation,
    Limits,
    Program,
    StdinTest,
    TestResult,
    judge,
)

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

Try = Callable[..., TestResult]


@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        ("import os\nwhile True:\n    os.fork()", {"refused"}),
        ("import subprocess\nsubprocess.run(['sleep', '9'])", {"refused", "error"}),
        ("import multiprocessing as m\nm.Process(target=print).start()", {"refused", "error"}),
        ("import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(9,)).start()", None),
        ("x = 'a'\nwhile True:\n    x += x", {"memory"}),
        ("x = []\nwhile True:\n    x.append(bytearray(1 << 20))", {"memory"}),
        ("while True:\n    pass", {"timeout"}),
        ("import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True:\n    pass", {"timeout"}),
        ("10 ** 10 ** 10", {"timeout", "memory"}),
        ("import time\ntime.sleep(1000)", {"timeout"}),
        ("import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')", {"timeout"}),
        ("import ctypes\nctypes.string_at(0)", {"error"}),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", {"error"}),
        ("def g(n):\n    return g(n + 1)\ng(0)", {"error", "memory"}),
        ("import sys\nsys.setrecursionlimit(10 ** 9)\ndef g(n):\n    return g(n + 1)\ng(0)", None),
        ("x = 1\nfor _ in range(10 ** 6):\n    x = [x]\nprint(repr(x))", None),
        ("import sys\nsys.exit(0)", {"error"}),
        ("import os\nos._exit(0)", {"error"}),
        ("exit()", {"error"}),
        ("raise BaseException('out')", {"error"}),
        ("import os\nos.close(3)\nos.close(4)", {"error", "refused", "timeout"}),
        ("def f(x: ", {"error"}),
        ("f = 7 #" + "(" * 50_000, {"error"}),
        ("(" * 5_000 + ")" * 5_000, {"error", "memory"}),
    ],
)
def test_what_exhausts_or_ends_its_process(code: str, statuses: set[str] | None, judged: Try) -> None:
    result = judged(code, WRONG)
    assert result.status in (statuses or {"error", "memory", "timeout", "refused", "failed"})
    assert result.detail


def test_endless_output(judged: Try) -> None:
    loud = "while True:\n    print('x' * 1000)"
    assert judged(loud, StdinTest(stdin="", stdout="x"), entry="").status == "refused"
    assert judged(loud, WRONG).status == "timeout"  # nobody listens where values are asked for


def test_a_value_that_is_too_large(judged: Try) -> None:
    assert judged("def f(x):\n    return 'y' * 10 ** 7", WRONG).status == "refused"
    assert judged("def f(x):\n    return list(range(10 ** 6))", WRONG).status == "refused"


def test_files_that_grow(judged: Try) -> None:
    code = "with open('big', 'wb') as file:\n    while True:\n        file.write(b'0' * 1_000_000)"
    assert judged(code, WRONG).status in {"error", "refused"}


SECRET = "the-secret-of-the-host"


def test_the_environment_is_empty(isolation: Isolation, judged: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    result = judged("import os\ndef f(x):\n    return dict(os.environ)", WRONG)
    assert result.status == "failed"
    assert SECRET not in result.detail
    assert "OPENAI" not in result.detail


needs_bubblewrap = pytest.mark.parametrize("isolation", ["bubblewrap"], indirect=True)


@needs_bubblewrap
def test_files_of_the_host_are_not_there(judged: Try, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    for path in (tmp_path / "secret", Path(__file__), Path("/etc/passwd"), Path("/proc/1/environ")):
        code = f"import os\ndef f(x):\n    p = {str(path)!r}\n    return os.listdir(p) if os.path.isdir(p) else open(p).read()"
        result = judged(code, WRONG)
        assert result.status in {"error", "refused"}, (path, result)
        assert SECRET not in result.detail


@needs_bubblewrap
def test_of_the_home_folder_only_the_way_to_the_interpreter_is_seen(judged: Try) -> None:
    home, base = Path.home(), Path(sys.base_prefix).resolve()
    seen = [base.relative_to(home).parts[0]] if base.is_relative_to(home) else None
    result = judged("import os\ndef f(x):\n    return os.listdir(x)", CallTest(args=[str(home)], expected=seen))
    assert result.status == ("passed" if seen else "error")


@needs_bubblewrap
def test_only_tmp_can_be_written(judged: Try, tmp_path: Path) -> None:
    for path in (
        tmp_path / "mine",
        Path("/usr/mine"),
        Path("/mine"),
        Path("/sandbox/inside/server.py"),
        Path("/dev/shm/m"),
        Path("/dev/mine"),
    ):
        result = judged(f"open({str(path)!r}, 'w').write('x')", WRONG)
        assert result.status in {"error", "refused"}, path
        assert not path.is_file() or path.name == "server.py"
    assert judged("open('/tmp/mine', 'w').write('x')\ndef f(x):\n    return 2", WRONG).status == "passed"
    assert not Path("/tmp/mine").exists()


def test_nothing_is_left_for_the_next_program(isolation: Isolation, quick: Limits) -> None:
    first = "import os, builtins, math\nopen('left', 'w').write('x')\nbuiltins.left = math.left = 1\nos.makedirs('a/b')"
    second = "import os, builtins, math\ndef f(x):\n    return [os.listdir('.'), hasattr(builtins, 'left'), hasattr(math, 'left')]"
    programs = [
        Program(code=first, tests=(WRONG,), entry="f"),
        Program(code=second, tests=(CallTest(args=[1], expected=[[], False, False]),), entry="f"),
    ]
    assert judge(programs, isolation=isolation, limits=quick, workers=1)[1].passed


def test_a_socket_to_the_host(judged: Try) -> None:
    arrived: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def listen() -> None:
            try:
                arrived.append(server.accept())
            except OSError:
                return

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2).send(b'x')"
        result = judged(code, WRONG)
    assert result.status in {"refused", "error"}
    assert not arrived


@pytest.mark.parametrize("target", ["os.getppid()", "-1", "1", "0", "os.getpid() - 1"])
def test_signals_to_others(target: str, judged: Try) -> None:
    code = f"import os, signal\ntry:\n    os.kill({target}, signal.SIGKILL)\nexcept OSError:\n    pass\n{ANSWER}"
    assert judged(code, WRONG).status != "passed"
    assert os.getpid()


def test_a_process_that_would_outlive_its_parent(judged: Try) -> None:
    code = """
import os, time, threading
def stay():
    time.sleep(1000)
threading.Thread(target=stay, daemon=True).start()
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('python3', ['python3', '-c', 'import time; time.sleep(99)', 'outlives-its-program'])
except OSError:
    pass
def f(x):
    return 2
"""
    assert judged(code, WRONG).status == "passed"  # what it tried was refused, what it answers is right


THREADS = """
import threading
threading.stack_size(32768)
stay = threading.Event()
def f(x):
    for _ in range(x):
        threading.Thread(target=stay.wait).start()
    if x < 64:
        stay.set()
    stay.wait()
    return x
"""


def test_more_threads_than_the_limit(judged: Try) -> None:
    assert judged(THREADS, CallTest(args=[40], expected=40)).status == "passed"
    crowd = judged(THREADS, CallTest(args=[500], expected=500))
    # Refused where they are counted from outside, an error where the system itself gives no more.
    assert crowd.status == "refused" or "can't start new thread" in crowd.detail, crowd


def test_a_program_that_does_not_read(isolation: Isolation) -> None:
    code = SAY + 'import time\nsay(b\'{"names": ["f"]}\')\ntime.sleep(99)\ndef f(x):\n    return 2'
    test = CallTest(args=["x" * 1_000_000], expected=2)
    limits = Limits(wall_seconds=1)
    (found,) = judge([Program(code=code, tests=(test,), entry="f")], isolation=isolation, limits=limits)
    assert found.results[0].status == "timeout"


def test_many_at_once_beside_bombs(isolation: Isolation) -> None:
    bombs = [
        "import os\nwhile True:\n    os.fork()",
        "x = bytearray(10 ** 10)",
        "while True:\n    pass",
        "import os\nos._exit(0)",
    ]
    good = Program(code="def f(x):\n    return 2", tests=(WRONG,), entry="f")
    programs = [p for b in bombs * 3 for p in (Program(code=b, tests=(WRONG,), entry="f"), good)]
    found = judge(programs, isolation=isolation, limits=Limits(cpu_seconds=0.3), workers=4)
    assert [j.passed for j in found] == [False, True] * (len(programs) // 2)
