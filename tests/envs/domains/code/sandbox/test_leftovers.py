"""What programs leave behind, and what they try to do to files and processes of others."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import WRONG

from dataenvgym.envs.domains.code.sandbox import (
    CallTest,
    Isolation,
    Limits,
    Program,
    TestResult,
    judge,
)
from dataenvgym.envs.domains.code.sandbox.inside import leftovers

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

Try = Callable[..., TestResult]


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
