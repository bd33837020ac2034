"""Run a command that ends when its parent process ends, in whatever way.

    python -I -S child_process.py COMMAND...

A script that uses only the standard library. The parent holds the other end of standard input. When standard
input closes, the parent is gone (SIGKILL included), and the command's whole process group is ended, first with
SIGTERM.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE = 10.0
"""Seconds that the command gets to end by itself after SIGTERM."""


def main(command: list[str]) -> int:
    """Run the command until it ends or standard input closes. Return its exit status, 128 + N after signal N."""
    asked: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def end(number: int, _: object) -> None:
        asked.append(number)
        if started:
            os._exit(_end(started[0]))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    started.append(child)
    if asked:  # a signal came while the command was starting
        return _end(child)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    status = child.wait()
    _signal(child, signal.SIGKILL)  # its remaining children
    return status if status >= 0 else 128 - status


def _end_with_input(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1024):
        pass
    os._exit(_end(child))


def _end(child: "subprocess.Popen[bytes]") -> int:
    _signal(child, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    _signal(child, signal.SIGKILL)
    return 0


def _alive(child: "subprocess.Popen[bytes]") -> bool:
    """Tell whether any process of its group is left."""
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
