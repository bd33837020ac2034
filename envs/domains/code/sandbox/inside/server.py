"""What runs inside the sandbox: a fork server that starts a process for each program. Standard library only.

It is started as a script by the interpreter of the parent, without its packages, and never imports dataenvgym.
The parent writes frames to its standard input and reads frames from its standard output: eight bytes with two
lengths, a JSON header, a body. A program's process has two pipes of its own with the same frames. Nothing that
decides a verdict is known here: what was expected stays with the parent.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import select
import signal
import time
from typing import Any

from . import frames, leftovers, program, seccomp

PR_SET_DUMPABLE, PR_SET_PDEATHSIG = 4, 1
MOST_FILES = 256
"""More than a server ever has open."""
TICK = 0.05
"""Seconds between two looks at a process's clock."""
BATCH_SECONDS = 0.05
"""After which the rest of a batch waits: the parent may find an answer wrong and need no more."""


class Child:
    """A program's process: its pid, the pipes to it, and where its processor clock stood when last asked."""

    def __init__(self, pid: int, inbox: int, outbox: int, stdout: int | None = None) -> None:
        self.pid, self.inbox, self.outbox, self.stdout = pid, inbox, outbox, stdout
        self.printed = bytearray()
        self.unsent = memoryview(b"")
        self.clock = 0.0
        self.status: int | None = None

    def ended(self) -> int | None:
        """Its exit code once it has ended, negative for a signal; None before."""
        if self.status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def kill(self) -> None:
        """End it."""
        if self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """End it, and close what leads to it."""
        self.kill()
        for fd in (self.inbox, self.outbox, self.stdout):
            if fd is not None:
                os.close(fd)

    def used(self) -> float:
        """Processor seconds so far, of all its threads (the clock id of a process: see clock_getcpuclockid)."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return self.clock


Job = dict[str, Any]
Reply = tuple[Job, bytes]

children: dict[int, Child] = {}
_parent = -1
"""Where the parent's frames come from."""


def serve(scratch: str, alone: bool, common: bool) -> None:
    """Answer frames until the parent closes the pipe.

    `scratch`: the folder that programs may write into. `alone`: nothing else lives in this PID namespace.
    `common`: whether programs find the common imports.
    """
    global _parent
    inbox, outbox = os.dup(0), os.dup(1)
    _parent = inbox
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    # Same user, but no other process may look into this one or trace it.
    seccomp.LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    seccomp.LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    drop_capabilities()
    program.load(common)
    seccomp.prepare()
    gc.collect()
    gc.freeze()
    frames.send(outbox, {"ready": True, "seccomp": seccomp.available()})
    with contextlib.suppress(EOFError):
        while True:
            job, body = frames.receive(inbox)
            if job["do"] == "open":
                reply = open_child(job, body, scratch, null, alone)
            elif job["do"] == "ask":
                reply = ask(job, body)
            elif job["do"] == "close":
                close_all(scratch, alone)
                spent = resource.getrusage(resource.RUSAGE_CHILDREN)
                reply = {"own": time.process_time(), "programs": spent.ru_utime + spent.ru_stime}, b""
            else:
                continue  # what was to end has answered meanwhile
            frames.send(outbox, *reply)
    close_all(scratch, alone)


def drop_capabilities() -> None:
    """Give up what root may do beyond others (look into any process, for one); of use without bubblewrap."""
    version_3, everything = 0x20080522, (ctypes.c_uint32 * 6)()
    seccomp.LIBC.capset((ctypes.c_uint32 * 2)(version_3, 0), everything)


def open_child(job: Job, body: bytes, scratch: str, null: int, alone: bool) -> Reply:
    """Start a process for a program; for one that reads standard input, wait for its end."""
    if job["id"] in children:
        children.pop(job["id"]).close()
    to_child, from_child = os.pipe(), os.pipe()
    printed = os.pipe() if job["role"] == "stdin" else None
    source = None
    if printed:
        source = os.memfd_create("stdin")
        with os.fdopen(os.dup(source), "wb") as file:
            file.write(job["stdin"].encode("utf-8", "surrogatepass"))
        os.lseek(source, 0, os.SEEK_SET)
    pid = os.fork()
    if pid == 0:
        try:
            inbox, outbox = to_child[0], from_child[1]
            os.dup2(source if source is not None else null, 0)
            os.dup2(printed[1] if printed else null, 1)
            os.dup2(null, 2)
            # The two pipes become 3 and 4, by way of numbers above these, and everything else is closed.
            pipes = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (inbox, outbox)]
            os.dup2(pipes[0], 3)
            os.dup2(pipes[1], 4)
            os.closerange(5, MOST_FILES)
            seccomp.LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.chdir(scratch)
            limit(job, alone)
            seccomp.install(os.getpid())
            program.run(job, body.decode("utf-8", "surrogatepass"), 3, 4)
        finally:
            os._exit(77)
    for number in (to_child[0], from_child[1], *((printed[1], source) if printed else ())):
        os.close(number)
    os.set_blocking(to_child[1], False)
    child = Child(pid, from_child[0], to_child[1], printed[0] if printed else None)
    children[job["id"]] = child
    return wait(child, job)


def ask(job: Job, body: bytes) -> Reply:
    """Pass messages, of `sizes` bytes each, to a program's process one after the other and collect its answers.

    Those of the first messages come back, with their sizes: until the process ends (how it did comes with them),
    or the batch's time or size is used up.
    """
    child = children.get(job["id"])
    if child is None:
        return {"ended": "gone", "sizes": []}, b""
    began, start, answers = time.monotonic(), 0, bytearray()
    sizes: list[int] = []
    for size in job["sizes"]:
        child.clock = child.used()
        child.unsent = memoryview(frames.framed({}, body[start : start + size]))
        start += size
        header, answer = wait(child, job)
        answers += answer
        if "frame" not in header:
            return {**header, "sizes": sizes}, bytes(answers)
        sizes.append(len(answer))
        if time.monotonic() - began > BATCH_SECONDS or len(answers) > job["output"]:
            break
    return {"frame": True, "used": header["used"], "sizes": sizes}, bytes(answers)


def wait(child: Child, job: Job) -> Reply:
    """The next frame of a process and the processor seconds it took, or how it ended (see `end`).

    Whatever comes from the parent meanwhile says that the process is idle: the parent sees more. What is still to
    be sent to the process is sent meanwhile; it need not read.
    """
    began, buffer = time.monotonic(), bytearray()
    fds = [child.inbox, *([child.stdout] if child.stdout is not None else [])]
    while fds:
        left = job["cpu"] - (child.used() - child.clock)
        if left <= 0:
            return end(child, "timeout")
        if time.monotonic() - began > job["wall"]:
            return end(child, "wall")
        readable, writable, _ = select.select(
            [*fds, _parent], [child.outbox] if child.unsent else [], [], min(TICK, left)
        )
        if writable:
            try:
                child.unsent = child.unsent[os.write(child.outbox, child.unsent) :]
            except OSError:  # it has ended; what is left in its pipe says how
                child.unsent = memoryview(b"")
        if readable == [_parent]:
            return told_to_end(child)
        for fd in readable:
            if fd == _parent:
                continue  # what the program says goes first
            data = os.read(fd, 1 << 16)
            if not data:
                fds.remove(fd)
            elif fd == child.stdout:
                child.printed += data
            else:
                buffer += data
            if len(child.printed) > job["output"] or len(buffer) > job["output"] + 1024:
                return end(child, "output")
        if child.stdout is None and (frame := frames.cut(buffer)) is not None:
            return {"frame": True, "used": child.used() - child.clock}, frame
    # Its pipes are closed, which a program may do by itself; it still has to end.
    while child.ended() is None:
        if child.used() - child.clock > job["cpu"]:
            return end(child, "timeout")
        if time.monotonic() - began > job["wall"]:
            return end(child, "wall")
        if select.select([_parent], [], [], 0.001)[0]:
            return told_to_end(child)
    frame = frames.cut(buffer)
    how = {"ended": "exit", "code": child.status, "error": frame is not None}
    if child.stdout is None:
        return how, frame or b""
    return {**how, "split": len(child.printed)}, bytes(child.printed) + (frame or b"")


def end(child: Child, why: str) -> Reply:
    """Kill a process that reached a limit: timeout (of its processor time), wall, output or idle."""
    child.kill()
    return {"ended": why}, b""


def told_to_end(child: Child) -> Reply:
    """Kill a process as the parent says. Raises EOFError when the parent is gone."""
    frames.receive(_parent)
    return end(child, "idle")


def close_all(scratch: str, alone: bool) -> None:
    """End all processes and remove what they left."""
    for child in children.values():
        child.close()
    children.clear()
    if alone:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    leftovers.clear(scratch)


def limit(job: Job, alone: bool) -> None:
    """The limits of a program's process, which it can only lower."""
    megabyte, seconds = 1 << 20, int(job["cpu_total"]) + 2
    limits = [
        (resource.RLIMIT_CPU, seconds, seconds + 1),  # the first is a signal that says why
        *(
            (what, most, most)
            for what, most in (
                (resource.RLIMIT_AS, job["memory_mb"] * megabyte),
                (resource.RLIMIT_FSIZE, job["file_mb"] * megabyte),
                (resource.RLIMIT_NOFILE, 64),
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_MSGQUEUE, 0),
                (resource.RLIMIT_MEMLOCK, 0),
            )
        ),
    ]
    # The system counts what the user runs elsewhere too, unless the sandbox has users of its own.
    if alone or not seccomp.available():
        limits.append((resource.RLIMIT_NPROC, job["processes"], job["processes"]))
    for what, soft, hard in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (soft, hard))
