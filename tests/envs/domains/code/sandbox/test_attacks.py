"""Programs that mean harm: each is contained and reported, the host unharmed, and others judged as before."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataenvgym.envs.domains.code.sandbox import (
    CallTest,
    Isolation,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    TestResult,
    judge,
)
from dataenvgym.envs.domains.code.sandbox.inside import leftovers

Try = Callable[..., TestResult]

# Never the right answer to what is asked below, whatever a program does to get it called right.
WRONG = CallTest(args=[1], expected=2)
CHECK = ScriptTest(code="def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n")
ANSWER = "\ndef f(x):\n    return 3\n"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No process of a program outlives it: those of the servers alone are there afterwards."""
    yield
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "outlives-its-program" not in found


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


# say(message): an answer that the process gives past the one that its harness gives.
SAY = "import os, struct\ndef say(m):\n    os.write(4, struct.pack('!II', 2, len(m)) + b'{}' + m)\n"

# Each tries to be called right with a wrong answer.
FAKES = {
    "prints a pass": "print('passed', True, {'status': 'passed'})" + ANSWER,
    "writes into every descriptor": "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'\\0\\0\\0\\2\\0\\0\\0\\x0d{}{\"done\":true}')\n    except OSError:\n        pass"
    + ANSWER,
    "forges frames": "import os, json\nfor body in (b'{\"done\": true}', b'{\"passed\": true}', b'{\"names\": [\"f\"]}'):\n    os.write(4, len(b'{}').to_bytes(4, 'big') + len(body).to_bytes(4, 'big') + b'{}' + body)"
    + ANSWER,
    "is equal to all": "class Same:\n    def __eq__(self, other):\n        return True\n    __hash__ = None\ndef f(x):\n    return Same()",
    "is a number equal to all": "class Same(int):\n    def __eq__(self, other):\n        return True\n    def __ne__(self, other):\n        return False\n    __hash__ = int.__hash__\ndef f(x):\n    return Same(3)",
    "is a list equal to all": "class Same(list):\n    def __eq__(self, other):\n        return True\n    def __len__(self):\n        return 0\n    __hash__ = None\ndef f(x):\n    return Same([3])",
    "patches assertions": "import builtins\nclass Quiet(Exception):\n    pass\nbuiltins.AssertionError = Quiet"
    + ANSWER,
    "patches builtins": "import builtins\nfor name in ('repr', 'all', 'len', 'isinstance', 'zip', 'float', 'type'):\n    setattr(builtins, name, lambda *a, **k: True)"
    + ANSWER,
    "patches json": "import json\njson.dumps = lambda *a, **k: '{\"value\": 2}'\njson.loads = lambda *a, **k: {'value': 2}"
    + ANSWER,
    "patches the harness": "import sys\nfor name, module in list(sys.modules.items()):\n    if name.startswith('inside'):\n        for key in list(vars(module)):\n            if not key.startswith('__'):\n                setattr(module, key, lambda *a, **k: 2)"
    + ANSWER,
    "walks the frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    for name in list(frame.f_locals):\n        if name in ('job', 'code', 'common'):\n            frame.f_locals[name] = {'role': 'call'}\n    frame = frame.f_back"
    + ANSWER,
    "walks the heap": "import gc\nfor thing in gc.get_objects():\n    if type(thing) is dict and 'expected' in thing:\n        thing['expected'] = 3"
    + ANSWER,
    "names itself as the check": "def check(candidate):\n    return None\ndef f(x):\n    return 3\n",
    "ends in the call": "import os\ndef f(x):\n    os._exit(0)",
    "leaves in the call": "import sys\ndef f(x):\n    sys.exit(0)",
    "says that it cannot be wrong": "def f(x):\n    raise SystemExit(0)",
    "raises what tests swallow": "def f(x):\n    raise StopIteration",
    "is an iterator": "def f(x):\n    yield 3",
    "says a number that is none": SAY + "def f(x):\n    say(b'{\"value\": {\"float\": ' + b'1' * 400 + b'}}')",
    "says keys that are none": SAY + 'def f(x):\n    say(b\'{"value": {"dict": [[[1], {"set": [[2]]}]]}}\')',
    "says values that collide": SAY
    + "def f(x):\n    say(b'{\"value\": {\"set\": [' + b','.join(b'%d' % (n * (2 ** 61 - 1)) for n in range(1000)) + b']}}')",
}


@pytest.mark.parametrize("test", [WRONG, CHECK], ids=["call", "script"])
@pytest.mark.parametrize("fake", FAKES)
def test_a_wrong_answer_is_never_called_right(fake: str, test: object, judged: Try) -> None:
    assert judged(FAKES[fake], test).status != "passed"


@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("def abs(x):\n    return 0" + ANSWER, "assert abs(f(1) - 2) < 1e-6"),
        ("def set(x):\n    return 0\ndef f(x):\n    return [3]", "assert set(f(1)) == set([2])"),
        ("def all(x):\n    return True" + ANSWER, "assert all(f(n) == n + 1 for n in range(3))"),
        (
            "def __import__(*a):\n    return None\nAssertionError = KeyError" + ANSWER,
            "import math\nassert f(1) == 2",
        ),
        ("def isclose(*a):\n    return True" + ANSWER, "from math import isclose\nassert isclose(f(1), 2)"),
        ("def f(x):\n    raise StopIteration", "for found in map(f, [1]):\n    assert found == 2"),
        ("def f(x):\n    raise StopIteration", "assert all(map(lambda n: f(n) == 2, [1]))"),
        ("def f(x):\n    raise StopIteration", "def found():\n    yield f(1) == 2\nassert all(found())"),
        ("import os\ndef f(x):\n    os._exit(0)", "try:\n    f(1)\nexcept Exception:\n    pass"),
    ],
)
def test_a_program_does_not_change_what_a_script_does(code: str, script: str, judged: Try) -> None:
    assert judged(code, ScriptTest(code=script)).status != "passed"


def test_a_program_cannot_find_test_scripts_in_memory(quick: Limits) -> None:
    """Neither its own nor those of earlier programs; with rlimits it may look at itself in /proc."""
    secret = "assert f(1) == 2  # " + "-".join(["se", "cr", "et"]) * 20
    spy = """
import re
def f(x):
    wanted, found = b"-".join([b"se", b"cr", b"et"]) * 3, 0
    with open("/proc/self/mem", "rb", 0) as memory:
        for line in open("/proc/self/maps"):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                memory.seek(start)
                found += memory.read(end - start).count(wanted)
            except (OSError, OverflowError, ValueError):
                continue
    return found - 1
"""
    honest = Program(code="def f(x):\n    return x + 1", tests=(ScriptTest(code=secret),) * 3, entry="f")
    look = CallTest(args=[1], expected=0)
    spies = Program(code=spy, tests=(look, ScriptTest(code=f"assert f(1) == 0\n{secret}")), entry="f")
    first, second = judge([honest, spies], isolation="rlimits", limits=quick, workers=1, stop_at_first=False)
    assert first.passed
    assert second.results[0].status == "passed", second  # what it looks for is its own constant at most
    assert second.results[1].detail == secret.split("  #")[0] or second.results[1].status == "failed"


@pytest.mark.parametrize("code", ["print('2')\nimport os\nos._exit(1)", "import sys\nprint(3)\nsys.exit(0)"])
def test_a_program_that_prints_and_leaves(code: str, judged: Try) -> None:
    assert judged(code, StdinTest(stdin="1", stdout="2"), entry="").status != "passed"


LEFT_BEHIND = {
    "deep folders": "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')",
    "folders that nobody may enter": "import os\nos.mkdir('a', 0o300)\nopen('a/c', 'w')\nos.mkdir('a/b', 0)\nos.mkdir('d', 0)",
    "a pipe": "import os\nos.mkfifo('pipe')",
    "many files": "for n in range(3000):\n    open(str(n), 'w').close()",
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_whatever_it_leaves_is_gone(what: str, isolation: Isolation, quick: Limits) -> None:
    after = "import os\ndef f(x):\n    open('mine', 'w').close()\n    return os.listdir('.')"
    programs = [
        Program(code=LEFT_BEHIND[what] + "\ndef f(x):\n    return 2", tests=(WRONG,), entry="f"),
        Program(code=after, tests=(CallTest(args=[1], expected=["mine"]),), entry="f"),
    ]
    # Making files may take seconds on a disk on which many were removed just before; the time is not the matter.
    unhurried = quick.model_copy(update={"cpu_seconds": 30.0, "wall_seconds": 60.0})
    found = judge(programs, isolation=isolation, limits=unhurried, workers=1)
    assert [j.passed for j in found] == [True, True], found


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    """Where there is no call filter a program can make them."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "kept").touch()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name, target in (("folder", tmp_path / "host"), ("file", tmp_path / "host" / "kept"), ("none", "nowhere")):
        (scratch / name).symlink_to(target)
    os.mkfifo(scratch / "pipe")
    leftovers.clear(str(scratch))
    assert not list(scratch.iterdir())
    assert (tmp_path / "host" / "kept").exists()


@pytest.mark.parametrize(
    "link", ["symlink('mine', 'other')", "link('mine', 'other')", "symlink('/', 'root', dir_fd=at)"]
)
def test_links(link: str, judged: Try) -> None:
    code = f"import os\nopen('mine', 'w').close()\nat = os.open('.', os.O_RDONLY)\nos.{link}"
    assert judged(code, WRONG).status == "refused"


def test_signals_by_way_of_a_file(judged: Try) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        code = f"""
import fcntl, os, signal
ends = os.pipe()
for pid in (os.getppid(), {bystander.pid}):
    for number, value in ((fcntl.F_SETOWN, pid), (10, signal.SIGKILL), (fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)):
        try:
            fcntl.fcntl(ends[0], number, value)
        except OSError:
            pass
    os.write(ends[1], b'x')
def f(x):
    return 3
"""
        assert judged(code, WRONG).status == "failed"
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize(
    "code",
    [
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (0, 0))",
        "import os\nos.sched_setaffinity(os.getppid(), {0})",
        "import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "import os\nos.setsid()",
    ],
)
def test_limits_and_priorities_of_others(code: str, judged: Try) -> None:
    assert judged(code, WRONG).status == "refused"


@pytest.mark.parametrize(
    "change",
    [
        "os.utime('/dev/full')",  # a device of the host's, and its own to who is root there
        "os.utime('mine')",
        "os.chmod('mine', 0o600)",
        "os.fchmod(mine.fileno(), 0o600)",
        "os.chown('mine', os.getuid(), -1)",
        "os.setxattr('mine', 'user.kind', b'x')",
        "os.removexattr('mine', 'user.kind')",
    ],
)
def test_modes_owners_times_and_attributes_of_files(change: str, judged: Try) -> None:
    assert judged(f"import os\nmine = open('mine', 'w')\n{change}", WRONG).status == "refused"


@pytest.mark.parametrize(
    "code",
    [
        "import tempfile\nwith tempfile.TemporaryDirectory() as place, open(place + '/x', 'w') as file:\n    file.write('2')",
        "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    file.write(b'2')",
        "import shutil\nopen('a', 'w').close()\nshutil.copyfile('a', 'b')\nshutil.move('b', 'c')",
        "import pathlib\nfor _ in range(2):\n    pathlib.Path('a').touch()",
        "import zipfile\nwith zipfile.ZipFile('a.zip', 'w') as made:\n    made.writestr('b', '2')\nzipfile.ZipFile('a.zip').extractall('c')",
        "import io, tarfile\nwith tarfile.open('a.tar', 'w') as made:\n    made.addfile(tarfile.TarInfo('b'), io.BytesIO())\ntarfile.open('a.tar').extractall('c', filter='data')",
    ],
)
def test_ordinary_use_of_files_is_no_attack(code: str, judged: Try) -> None:
    assert judged(f"{code}\ndef f(x):\n    return 2", WRONG).status == "passed"


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
