"""What the system tells of the processes in a server: how many threads they have, and whether any works."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

LOOK_SECONDS = 0.05
"""Between two looks at a server that works."""
WORKING = frozenset((b"R", b"D"))
"""States of a thread that runs or would if a processor were free, or that waits for a disk (man 5 proc)."""


class Seen(NamedTuple):
    """A look at a server. `working`: a thread in it runs, or would if it could; True where that is not told."""

    threads: int
    working: bool


def look(pid: int, most: int) -> Seen:
    """Look at a process and all below it. It ends at more than `most` threads; where nothing is told, at none.

    The threads are counted because RLIMIT_NPROC does not hold for root, nor for a sandbox that root started.
    A look takes a while, in which work may pass from a thread that is still to be seen to one already seen. So
    what seems to do nothing is looked at twice.
    """
    seen = _look(pid, most)
    return seen if seen.working else _look(pid, most)


def _look(pid: int, most: int) -> Seen:
    threads, working, waiting = 0, False, [pid]
    while waiting and threads <= most:
        try:
            for thread in Path(f"/proc/{waiting.pop()}/task").iterdir():
                threads += 1
                if threads > most:
                    break
                working = working or _state((thread / "stat").read_bytes()) in WORKING
                waiting += map(int, (thread / "children").read_bytes().split())
        except OSError:  # it has ended meanwhile, or the system does not tell
            working = True
    return Seen(threads, working)


def _state(stat: bytes) -> bytes:
    """The state in the line `pid (name) state ...`; a program may give its name any bytes."""
    return stat.rpartition(b")")[2].split()[0]


class Waits:
    """How long a program has waited: slept, or hung on what never comes.

    It is counted in looks at which nothing worked. A clock would count the time during which a busy machine keeps
    a program from working, or this process from looking.
    """

    def __init__(self, seconds: float) -> None:
        self._left = max(1, round(seconds / LOOK_SECONDS))

    def over(self, seen: Seen) -> bool:
        """Whether it has waited for long enough, this look included."""
        if not seen.working:
            self._left -= 1
        return self._left <= 0
