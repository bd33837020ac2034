"""The processes that programs are run in: started at the first need, kept for the next, ended with this one."""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import MissingDependencyError
from dataenvgym.envs.sandbox.inside import frames
from dataenvgym.envs.sandbox.types import Isolation

INSIDE = Path(__file__).parent / "inside"
START_SECONDS = 60
"""Within which a server must be ready; it takes a tenth of a second."""
CLOSE_SECONDS = 2
LARGEST_FRAME = 1 << 28
SCRATCH_BYTES = 64 << 20
INSTALL = "Install it with: apt-get install bubblewrap (dnf, pacman and others call it so too)"
CHOICE = (
    "or set task.sandbox=rlimits, which limits time, memory and output only: such programs can read your files "
    "and, where the system has no call filter, use the network"
)

# The folder comes last, since a module beside `inside` may have the name of one of the standard library.
_START = "import sys; sys.path.append({folder!r}); from inside.server import serve; serve({scratch!r}, {alone!r})"
# Neither packages nor the current folder are sources of modules. Not -I, which would ignore the hash seed.
_PYTHON = ("-S", "-s", "-P", "-B", "-c")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}


class LostError(Exception):
    """A server that has died or does not answer."""


class Server:
    """A process with a fork server in it. One thread uses it at a time."""

    def __init__(self, isolation: Isolation) -> None:
        self.isolation = isolation
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if isolation == "bubblewrap":
            command = bubblewrap(self._command("/sandbox", "/tmp", True))  # noqa: S108 - inside it is private
            folder: str | None = None
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="dataenvgym-programs-")
            folder = self._scratch.name
            command = self._command(str(INSIDE.parent), folder, False)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            self._receive(START_SECONDS)
        except LostError as error:
            said = self._said() or str(error)
            self.close()
            raise MissingDependencyError(
                f"the sandbox for programs cannot start: {said}. {INSTALL}, {CHOICE}."
            ) from error

    @staticmethod
    def _command(folder: str, scratch: str, alone: bool) -> list[str]:
        start = _START.format(folder=folder, scratch=scratch, alone=alone)
        return [os.path.realpath(sys.executable), *_PYTHON, start]

    def ask(self, header: dict[str, Any], body: bytes, patience: float) -> tuple[dict[str, Any], bytes]:
        """Send a frame and wait for the answer. Raises LostError when none comes within `patience` seconds."""
        if self._process.stdin is None:
            raise LostError("closed")
        try:
            frames.send(self._process.stdin.fileno(), header, body)
        except OSError as error:
            raise LostError("the sandbox has ended") from error
        return self._receive(patience)

    def _receive(self, patience: float) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + patience
        sizes = frames.HEAD.unpack(self._read(frames.HEAD.size, deadline))
        if sum(sizes) > LARGEST_FRAME:
            raise LostError("the sandbox sent too much")
        try:
            header = frames.load(self._read(sizes[0], deadline))
        except ValueError as error:
            raise LostError("the sandbox sent no message") from error
        return header, self._read(sizes[1], deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        if self._process.stdout is None:
            raise LostError("closed")
        fd, data = self._process.stdout.fileno(), bytearray()
        while len(data) < count:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LostError("the sandbox does not answer")
            part = os.read(fd, min(1 << 20, count - len(data)))
            if not part:
                raise LostError("the sandbox has ended")
            data += part
        return bytes(data)

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-300:].decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End it and all that runs in it."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # a server that waits for work ends by this
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._errors.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def bubblewrap(command: list[str]) -> list[str]:
    """The command in a sandbox: no network, no files but those that Python needs (read-only) and a private /tmp.

    Raises:
        MissingDependencyError: bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise MissingDependencyError(f"the sandbox for programs needs bubblewrap. {INSTALL}, {CHOICE}.")
    binds = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"):
        if Path(name).is_symlink():
            binds += ["--symlink", str(Path(name).readlink()), name]
        elif Path(name).is_dir():
            binds += ["--ro-bind", name, name]
    base = Path(sys.base_prefix).resolve()
    if not base.is_relative_to("/usr"):
        binds += ["--ro-bind", str(base), str(base)]
    return [
        program,
        *("--unshare-all", "--die-with-parent", "--new-session"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        "--clearenv",
        *(word for name, value in _ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *binds,
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--ro-bind", str(INSIDE), "/sandbox/inside"),
        *("--dev", "/dev", "--tmpfs", "/dev/shm", "--remount-ro", "/dev/shm"),  # noqa: S108 - inside
        *("--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108 - inside
        *("--remount-ro", "/", "--"),
        *command,
    ]


_lock = threading.Lock()
_idle: list[Server] = []
_owner = os.getpid()
# Servers die with the thread that started them (PR_SET_PDEATHSIG), so one that stays starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox")


@contextmanager
def borrowed(isolation: Isolation) -> Iterator[Server]:
    """A server for a block. One that is lost in it is not used again."""
    with _lock:
        _forget_if_forked()
        server = next((s for s in _idle if s.isolation == isolation), None)
        if server is not None:
            _idle.remove(server)
        starter = _starter
    if server is None:
        server = starter.submit(Server, isolation).result()
    try:
        yield server
    except BaseException:
        server.close()
        raise
    with _lock:
        _idle.append(server)


def _forget_if_forked() -> None:
    """A forked copy of this process must not talk through its parent's pipes."""
    global _owner, _starter
    if _owner != os.getpid():
        _idle.clear()
        _owner, _starter = os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="sandbox")


@atexit.register
def close_all() -> None:
    """End every idle server."""
    with _lock:
        _forget_if_forked()
        while _idle:
            _idle.pop().close()
