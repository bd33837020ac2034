"""Runs the slow comparison of answers in a child process that is stopped when it takes too long.

Text written by a model can make computer algebra run for ever inside one call that no Python code can
interrupt (`5^{5^{5^5}}` is one integer power), and signal-based limits need the main thread. A process
can always be stopped. One child serves the whole process, one comparison at a time, over two pipes that
carry JSON lines; it is started at the first need and started again after it was stopped.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from typing import Any

from dataenvgym.envs.errors import MissingDependencyError

CPU_SECONDS = 3
"""Processor time for one comparison. Not wall-clock time, so a score does not depend on how busy the
machine is."""
WALL_SECONDS = 60
"""The last resort, for a child that waits instead of computing and for systems without CPU timers."""
MEMORY_BYTES = 4 << 30

_lock = threading.Lock()
_child: "subprocess.Popen[str] | None" = None
_owner = 0


def compare(gold: str, answer: str) -> bool:
    """`structure.same` on two normal forms, from any thread; False when it fails or takes too long.

    Raises:
        MissingDependencyError: the child cannot start because `math-verify` is missing.
    """
    with _lock:
        child = _running()
        reply = _ask(child, json.dumps([gold, answer]))
        if reply is None:
            _stop()
            return False
        return reply is True


def _running() -> "subprocess.Popen[str]":
    global _child, _owner
    # A forked copy of this process must not talk through its parent's pipes.
    if _child is None or _child.poll() is not None or _owner != os.getpid():
        # By -P, a folder that the user happens to stand in is no source of modules.
        command = [sys.executable, "-P", "-m", "dataenvgym.envs.domains.math.scoring.worker"]
        _child = subprocess.Popen(  # noqa: S603 - our own module, no shell, no outside text
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        _owner = os.getpid()
        ready = _ask(_child, None)
        if ready != "ready":
            _stop()
            raise MissingDependencyError(
                f"the comparison of math answers cannot start ({ready or 'no reply'}). "
                "Install it with: pip install 'math-verify>=0.8'"
            )
    return _child


def _ask(child: "subprocess.Popen[str]", line: str | None) -> Any:
    """One line out (None: none), one line in; None when the child died or was stopped."""
    timer = threading.Timer(WALL_SECONDS, child.kill)
    timer.daemon = True
    timer.start()
    try:
        if child.stdin is None or child.stdout is None:
            return None
        if line is not None:
            child.stdin.write(line + "\n")
            child.stdin.flush()
        reply = child.stdout.readline()
        return json.loads(reply) if reply else None
    except (OSError, ValueError):
        return None
    finally:
        timer.cancel()


@atexit.register
def _stop() -> None:
    global _child
    if _child is not None and _owner == os.getpid():
        _child.kill()
        _child.wait()
        for pipe in (_child.stdin, _child.stdout):
            if pipe is not None:
                pipe.close()
    _child = None


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, OSError, ValueError):
        return


def _set_timer(seconds: float) -> None:
    """The default action of the timer's signal ends the process, even inside one long integer power."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _serve() -> None:
    import signal

    # The parent decides when the child ends: by closing the pipe. A profiler's handling is not inherited.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # Whatever a library prints must not end up between the replies.
    out, sys.stdout = sys.stdout, sys.stderr
    _limit_memory()
    try:
        import math_verify  # noqa: F401

        from dataenvgym.envs.domains.math.scoring.structure import same

        reply: Any = "ready"
    except ImportError as error:
        reply = str(error)
    print(json.dumps(reply), file=out, flush=True)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        _set_timer(CPU_SECONDS)
        try:
            reply = same(gold, answer)
        except Exception:
            reply = False
        _set_timer(0)
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    _serve()
