"""A command tied to the process that started it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataenvgym.envs.students import child_process

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
FAMILY = "sleep 600 & echo $! > {folder}/grandchild; echo $$ > {folder}/child; wait"


def tied(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-I", "-S", child_process.__file__, *command], stdin=subprocess.PIPE)


def gone(path: Path) -> bool:
    for _ in range(100):
        if path.exists() and path.read_text().strip() and not Path(f"/proc/{path.read_text().strip()}").exists():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("how", ["input ends", "terminated"])
def test_all_that_it_started_ends_too(how: str, tmp_path: Path) -> None:
    process = tied("sh", "-c", FAMILY.format(folder=tmp_path))
    while not (tmp_path / "child").exists():
        time.sleep(0.02)
    if how == "terminated":
        process.terminate()
    elif process.stdin:
        process.stdin.close()
    process.wait(30)
    assert gone(tmp_path / "child") and gone(tmp_path / "grandchild")


def test_what_the_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    process = tied("sh", "-c", f"sleep 600 & echo $! > {tmp_path}/grandchild")
    assert process.wait(30) == 0
    assert gone(tmp_path / "grandchild")


def test_its_exit_status_is_the_commands() -> None:
    assert tied("sh", "-c", "exit 3").wait(30) == 3
    assert tied("sh", "-c", "kill -9 $$").wait(30) == 137


def test_a_signal_while_the_command_is_being_started_ends_it_too(tmp_path: Path) -> None:
    # The shell's parent is the one to be ended: it may not yet know what it has started.
    process = tied("sh", "-c", f"echo $$ > {tmp_path}/child; kill -TERM $PPID; sleep 600")
    assert process.wait(30) == 0
    assert gone(tmp_path / "child")
