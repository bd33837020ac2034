"""Processes of this Python that are forked from one in which the large libraries are loaded.

A process that imports torch, transformers and peft needs some 5 s of processor time to do so. `WarmPopen` stands
for `subprocess.Popen` and asks a server (warm_server.py) to fork instead of starting Python anew. The process is a
real one: its own number, streams, folder, environment, session, signals and exit status. What the server cannot do
is started as ever.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SERVER = Path(__file__).with_name("warm_server.py")
# Read while Python or a library is loaded: a process in which they differ is started anew.
READ_AT_IMPORT = ("PYTHON", "HF_", "TRANSFORMERS_", "MKL_", "LC_", "LD_")
NOT_READ = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


class Server(NamedTuple):
    """Where it listens, and what it was started with."""

    path: str
    environment: Mapping[str, str]


_server: Server | None = None


def use(server: Server) -> None:
    """Have every `subprocess.Popen` of this process ask the server, from now on."""
    global _server
    _server = server
    subprocess.Popen = WarmPopen  # type: ignore[misc]


@contextmanager
def served() -> Iterator[Server | None]:
    """A server; None where the system cannot wait for a process that is not its own child."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    folder = tempfile.mkdtemp(prefix="warm-")  # the name of a socket may have some 100 letters only
    server = Server(f"{folder}/s", dict(os.environ))
    with subprocess.Popen(
        [sys.executable, str(SERVER), server.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin and process.stdout
            assert process.stdout.readline() == "ready\n"
            yield server
        finally:
            process.stdin.close()  # its end
            process.wait(60)
            shutil.rmtree(folder)


@contextmanager
def using(server: Server | None) -> Iterator[None]:
    """`use`, for a while; with None processes are started as ever."""
    global _server
    before = _server, subprocess.Popen
    _server, subprocess.Popen = server, WarmPopen  # type: ignore[misc]
    try:
        yield
    finally:
        _server, subprocess.Popen = before  # type: ignore[misc]


def forkable(args: Any, environment: Mapping[str, str], server: Server) -> bool:
    """Whether a command runs this Python, without options, in an environment such as the server's."""
    if not isinstance(args, list | tuple) or len(args) < 2 or str(args[0]) != sys.executable:
        return False
    first = str(args[1])
    if first not in ("-m", "-c") and (first.startswith("-") or not first.endswith(".py")):
        return False
    return _read_at_import(environment) == _read_at_import(server.environment)


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith(READ_AT_IMPORT) and k not in NOT_READ}


def _ask(server: Server, order: dict[str, Any], descriptors: list[int]) -> int:
    """The number of the process that the server has forked."""
    message = json.dumps(order).encode()
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(server.path)
        asking.sendall(len(message).to_bytes(8, "big"))
        socket.send_fds(asking, [message[:1]], descriptors)
        asking.sendall(message[1:])
        return int(asking.recv(32))


class WarmPopen(subprocess.Popen[Any]):
    """`subprocess.Popen`, whose process is forked by the server where that can be."""

    _status: int | None = None
    """Where the server writes the exit status; None: the process is our own child."""

    def _execute_child(  # the private method of CPython 3.11 to 3.14 that starts the process
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: Any,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: Any,
        creationflags: Any,
        shell: Any,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: Any,
        gid: Any,
        gids: Any,
        uid: Any,
        umask: Any,
        start_new_session: bool,
        process_group: Any,
    ) -> None:
        environment = os.environ if env is None else env
        special = executable or preexec_fn or pass_fds or shell or gid or gids or uid
        special = special or umask != -1 or process_group != -1
        if _server is None or special or not forkable(args, environment, _server):
            super()._execute_child(  # type: ignore[misc]
                *(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell),
                *(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask),
                *(start_new_session, process_group),
            )
            return
        order = {
            "words": [os.fspath(word) for word in args[1:]],
            "environment": dict(environment),
            "folder": str(Path(cwd or ".").absolute()),
            "session": bool(start_new_session),
        }
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        read, write = os.pipe()
        try:
            self.pid = _ask(_server, order, [*streams, write])
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._status, self._child_created = read, True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """(the process, its status in the form of waitpid), or (0, 0) while it runs."""
        if self._status is None:
            found: tuple[int, int] = super()._try_wait(wait_flags)  # type: ignore[misc]
            return found
        os.set_blocking(self._status, not wait_flags & os.WNOHANG)
        try:
            said = os.read(self._status, 16)
        except BlockingIOError:
            return 0, 0
        os.close(self._status)
        code = int(said or b"255")  # nothing: the server is gone
        return self.pid, -code if code < 0 else code << 8

    def _internal_poll(self, *args: Any, **more: Any) -> int | None:
        if self._status is None:
            found: int | None = super()._internal_poll(*args, **more)  # type: ignore[misc]
            return found
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                process, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if process:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode
