"""The processes that programs are run in: started at the first need, kept for the next, ended with this one."""

from __future__ import annotations

import atexit
import contextlib
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
from typing import IO, Any, Literal

from dataenvgym.envs.domains.code.sandbox.inside import frames, leftovers
from dataenvgym.envs.domains.code.sandbox.looking import LOOK_SECONDS, Waits, look
from dataenvgym.envs.domains.code.sandbox.types import Isolation
from dataenvgym.envs.errors import MissingDependencyError

Purpose = Literal["programs", "scripts"]
"""What runs on a server. A program can read what its server has ever held, and so no test script is given to one
that runs programs."""

INSIDE = Path(__file__).parent / "inside"
START_SECONDS = 60
"""Within which a server must be ready; it takes a tenth of a second."""
CLOSE_SECONDS = 2
CLEAN_SECONDS = 10
OWN_THREADS = 3
"""Of a server, beside its programs': bubblewrap's two and its own."""
LARGEST_FRAME = 1 << 28
SCRATCH_BYTES = 64 << 20
INSTALL = "Install it with: apt-get install bubblewrap (dnf, pacman and others call it so too)"
CHOICE = (
    "or set task.options.sandbox=rlimits, which limits time, memory and output only: such programs can read your "
    "files and, where the system has no call filter, use the network"
)

# The folder comes last, since a module beside `inside` may have the name of one of the standard library.
_START = "import sys; sys.path.append({0!r}); from inside.server import serve; serve({1!r}, {2!r}, {3!r})"
# Neither packages nor the current folder are sources of modules. Not -I, which would ignore the hash seed.
_PYTHON = ("-S", "-s", "-P", "-B", "-c")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}


class LostError(Exception):
    """A server that has died, does not answer, or cannot be started where others could."""


class CrowdedError(Exception):
    """More threads in a server than allowed."""


class Server:
    """A process with a fork server in it. One thread uses it at a time."""

    def __init__(self, isolation: Isolation, purpose: Purpose) -> None:
        self.isolation, self.purpose = isolation, purpose
        self._scratch: str | None = None
        common = purpose == "programs"  # a script finds only what it imports
        with contextlib.ExitStack() as undo:
            if isolation == "bubblewrap":
                command = bubblewrap(_command("/sandbox", "/tmp", True, common))  # noqa: S108 - inside it is private
            else:
                self._scratch = tempfile.mkdtemp(prefix="dataenvgym-programs-")
                undo.callback(_remove, self._scratch)
                command = _command(str(INSIDE.parent), self._scratch, False, common)
            self._errors = undo.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_ENVIRONMENT,
                cwd=self._scratch,
                start_new_session=True,
            )
            undo.pop_all()  # from here on `close` does it
        self._inbox, self._outbox = _pipe(self._process.stdout), _pipe(self._process.stdin)
        os.set_blocking(self._outbox, False)
        try:
            self._receive(time.monotonic() + START_SECONDS)
        except LostError as error:
            said = self._said() or str(error)
            self.close()
            raise LostError(said) from error

    def ask(
        self,
        header: dict[str, Any],
        body: bytes,
        patience: float,
        threads: int | None = None,
        waits: Waits | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Send a frame and wait for the answer.

        Args:
            waits: how long the program may wait; when it has, the answer comes at once and says `idle`.

        Raises:
            LostError: none came within `patience` seconds.
            CrowdedError: meanwhile the programs had more than `threads` threads and processes; they are ended.
        """
        deadline = time.monotonic() + patience
        self._send(frames.framed(header, body), deadline)
        while threads is not None and (now := time.monotonic()) < deadline:
            if _ready(self._inbox, select.POLLIN, min(now + LOOK_SECONDS, deadline)):
                break
            seen = look(self._process.pid, threads + OWN_THREADS)
            if seen.threads > threads + OWN_THREADS:
                self._kill()
                raise CrowdedError(f"more than {threads} processes and threads")
            answered = _ready(self._inbox, select.POLLIN, 0)
            if waits is not None and not answered and waits.over(seen):
                self._send(frames.framed({"do": "end"}, b""), deadline)
                break
        return self._receive(deadline)

    def clean(self) -> dict[str, Any]:
        """End what runs on it and remove what that left. Raises LostError when it cannot.

        Returns:
            Processor seconds since it was started: its `own`, and those of the `programs`.
        """
        return self.ask({"do": "close"}, b"", CLEAN_SECONDS)[0]

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            if not _ready(self._outbox, select.POLLOUT, deadline):
                raise LostError("the sandbox does not listen")
            try:
                left = left[os.write(self._outbox, left) :]
            except OSError as error:
                raise LostError("the sandbox has ended") from error

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        sizes = frames.HEAD.unpack(self._read(frames.HEAD.size, deadline))
        if sum(sizes) > LARGEST_FRAME:
            raise LostError("the sandbox sent too much")
        try:
            header = frames.load(self._read(sizes[0], deadline))
        except ValueError as error:
            raise LostError("the sandbox sent no message") from error
        return header, self._read(sizes[1], deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            if not _ready(self._inbox, select.POLLIN, deadline):
                raise LostError("the sandbox does not answer")
            part = os.read(self._inbox, min(1 << 20, count - len(data)))
            if not part:
                raise LostError("the sandbox has ended")
            data += part
        return bytes(data)

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-300:].decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End it and all that runs in it; never raises."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()  # a server that waits for work ends by this
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._errors.close()
        if self._scratch is not None:
            _remove(self._scratch)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _remove(scratch: str) -> None:
    with contextlib.suppress(OSError):
        leftovers.clear(scratch)
        Path(scratch).rmdir()


def _command(folder: str, scratch: str, alone: bool, common: bool) -> list[str]:
    return [os.path.realpath(sys.executable), *_PYTHON, _START.format(folder, scratch, alone, common)]


def _ready(fd: int, event: int, deadline: float) -> bool:
    """Wait for it; by poll, since select takes no descriptor above 1023."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(1000 * max(0.0, deadline - time.monotonic())))


def _pipe(stream: IO[bytes] | None) -> int:
    assert stream is not None  # noqa: S101 - it was asked for
    return stream.fileno()


def bubblewrap(command: list[str]) -> list[str]:
    """The command in a sandbox: no network, a private /tmp, and else no files but those of Python and /usr (where
    its libraries are), read-only and without installed packages.

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
    python, base = Path(sys.executable).resolve(), Path(sys.base_prefix).resolve()
    if not base.is_relative_to("/usr"):  # of a folder with more than Python in it (conda's), only what it needs
        for part in (python, base / "lib", base / "lib64"):
            binds += ["--ro-bind-try", str(part), str(part)]
    return [
        program,
        *("--unshare-all", "--die-with-parent", "--new-session"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        "--clearenv",
        *(word for name, value in _ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *binds,
        *(word for folder in _packages(python, base) for word in ("--tmpfs", folder, "--remount-ro", folder)),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--ro-bind", str(INSIDE), "/sandbox/inside"),
        *("--dev", "/dev", "--tmpfs", "/dev/shm", "--remount-ro", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
        *("--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108 - inside
        *("--remount-ro", "/", "--"),
        *command,
    ]


def _packages(python: Path, base: Path) -> list[str]:
    """Folders of installed packages and programs that Python does not need; what a program finds is to depend on
    Python's version alone."""
    local = Path("/usr/local")
    found = [] if python.is_relative_to(local) or base.is_relative_to(local) else [local]
    places = {base, Path("/usr")} if found else {base, Path("/usr"), local}
    for place in sorted(places):
        for kind in ("site-packages", "dist-packages"):
            found += place.glob(f"lib*/python3*/{kind}")
    return [str(path) for path in found if path.is_dir() and not path.is_symlink()]


_lock = threading.Lock()
_idle: list[Server] = []
_owner = os.getpid()
_proven: set[Isolation] = set()
"""Of which a server has started. What stops another from starting is not how this machine is set up."""
# Servers die with the thread that started them (PR_SET_PDEATHSIG), so one that stays starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox")


@contextmanager
def borrowed(isolation: Isolation, purpose: Purpose) -> Iterator[Server]:
    """A server for a block, with nothing left on it of earlier ones. One that is lost in it is not used again.

    Raises:
        LostError: none can be started now, though others could (the system may be out of processes).
        MissingDependencyError: none can be started here; the text says what to do.
    """
    with _lock:
        _forget_if_forked()
        server = next((s for s in _idle if (s.isolation, s.purpose) == (isolation, purpose)), None)
        if server is not None:
            _idle.remove(server)
        starter = _starter
    if server is None:
        try:
            server = starter.submit(Server, isolation, purpose).result()
        except (OSError, LostError) as error:
            if isolation in _proven:
                raise LostError(f"no other can be started: {error}") from error
            raise MissingDependencyError(
                f"the sandbox for programs cannot start: {error}. {INSTALL}, {CHOICE}."
            ) from error
        _proven.add(isolation)
    try:
        yield server
    except BaseException:
        server.close()
        raise
    try:
        server.clean()
    except LostError:  # whatever the block has found holds all the same
        server.close()
        return
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
